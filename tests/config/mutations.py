"""Mutates every key of params.yaml in more than 25 ways, and knows of each mutation whether it is right.

What is right is said here a second time, independent of the models of the settings. All mutations, in a few
minutes: python tests/config/mutations.py. The suite tries a sample.
"""

import copy
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from crossmodal_peft.config.reading import read
from crossmodal_peft.config.validation import check

# As JSON, so that no block stands in two places.
CONFIG = json.loads(json.dumps(read(Path(__file__).parents[2] / "params.yaml")))
# Keys that params.yaml has not.
SIGHT = {"text": "minilm-l6", "image": "dinov2-small"}
SOUND = {"text": "minilm-l6", "audio": "whisper-tiny-en"}
CONFIG["encoders"] |= {
    "of-hub": {
        **{"modality": "text", "family": "bert", "pooling": "mean"},
        "source": {"hub": "some-body/some.model", "revision": "0" * 40},
    },
    "of-folder": {**{"modality": "image", "family": "vit", "pooling": "cls"}, "source": {"folder": "~/vit"}},
}
CONFIG["datasets"] |= {
    "own": {"kind": "manifest", "manifest": "a/b.csv", "encoders": dict(SIGHT), "max_lost": 0.2, "limit": 9},
    "clotho": {"kind": "clotho", "encoders": dict(SOUND), "folder": "a", "mirrors": ["https://a.b/c"]},
    "coco": {"kind": "karpathy", "name": "coco", "encoders": dict(SIGHT)},
    "how": {"kind": "howto100m", "encoders": dict(SOUND), "min_seconds": 3, "max_videos": 2, "max_clips": 2},
}
CONFIG["methods"] |= {
    "sized": {
        **{"kind": "adapter", "budget": 200_000, "modalities": ["text"]},
        "by_modality": {"text": {"scale": 2.0, "activation": "relu"}},
    },
    "ratio": {"kind": "peft_library", "peft_type": "LORA", "options": {"r": 4}, "alpha_over_rank": 2},
}
CONFIG["train"]["loss"] = {"kind": "infonce", "temperature": 0.07}
VALUES: list[Any] = [
    *(None, True, False, "", " ", "8", "abc", "..", "a/b", "-x", "x;y", "{x}", "a b", "ü", "a\nb", "1e-1"),
    *(
        0,
        1,
        -1,
        3,
        2.5,
        0.5,
        1e-3,
        1e300,
        math.inf,
        math.nan,
        2**32,
        10**20,
        [],
        [0],
        [0, 0],
        ["abc"],
        {},
        {"x": 1},
    ),
]
DELETED, RENAMED = "deleted", "renamed"
Right = Callable[[Any], bool]


class Mutation(NamedTuple):
    """A key, as a path, and what happens to it: DELETED, RENAMED or ("value", another value)."""

    path: tuple[str, ...]
    change: Any

    def __str__(self) -> str:
        what = self.change if isinstance(self.change, str) else repr(self.change[1])
        return f"{'.'.join(self.path)}: {what}"


def whole(least: int, most: int) -> Right:
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v <= most


def number(above: float, most: float) -> Right:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and above < v <= most


def or_null(right: Right) -> Right:
    return lambda v: v is None or right(v)


def never(value: Any) -> bool:
    return False


def boolean(value: Any) -> bool:
    return isinstance(value, bool)


def empty(value: Any) -> bool:
    return value == {}


def place(value: Any) -> bool:
    return value in ("8", "abc", "a/b", "x;y", "a b", "ü", "1e-1", "..")


def root(value: Any) -> bool:
    return place(value) and value != ".."


def seed(value: Any) -> bool:
    return whole(0, 2**32 - 1)(value)


SIZE, RATE = whole(1, 10**6), number(0, 10)
# By pattern of the key; the first that matches counts. Everything else must not be replaced by any of VALUES.
RIGHT: dict[str, Right] = {
    r"matrix.seeds": lambda v: v == [0],
    r"sweep.seed": lambda v: seed(v) and v not in (0, 1, 2),
    r"datasets.*.split.seed": seed,
    r"paths": empty,
    r"paths.scratch": or_null(place),
    r"paths.\w+": root,
    r"encoders.of-folder.source.folder": lambda v: (
        isinstance(v, str) and v.strip() == v != "" and "\n" not in v
    ),
    r"encoders.of-hub.source.hub": lambda v: v == "a/b",
    r"encoders.of-(hub|folder).source": lambda v: v is None,
    r"datasets.*.max_lost": lambda v: number(0, 0.99)(v) or (v == 0 and not isinstance(v, bool)),
    r"datasets.*.(limit|max_videos|max_clips)": or_null(whole(1, 10**12)),
    r"datasets.*.folder": or_null(place),
    r"datasets.*.mirrors": lambda v: v == [],
    r"datasets.*.min_seconds": number(0, 10**6),
    r"methods.*.budget": or_null(whole(1, 10**12)),
    r"methods.*.modalities": lambda v: v is None,
    r"methods.*.by_modality(.\w+)?": empty,
    r"methods.*.by_modality.\w+.scale": number(0, 10**6),
    r"methods.ratio.options": never,
    r"methods.*.alpha_over_rank": or_null(number(0, 10**6)),
    r"train.loss.temperature": number(0.00999, 100),
    r"encoders.*.max_tokens": SIZE,
    r"encoders.*.image_size": whole(1, 4096),
    r"encoders.*.seconds": number(0, 3600),
    r"encoders.(roberta-base|ast-base|vit-b16).architecture": empty,
    r"encoders.*.architecture.model_type": never,
    r"encoders.*.architecture.\w+": whole(1, 10**7),
    r"datasets.*.split": empty,
    r"datasets.phrases.split.validation": number(0, 0.42),  # Its test split is larger.
    r"datasets.*.split.(validation|test)": number(0, 0.79),
    r"methods.*.(tuned|deep)": boolean,
    r"methods.*.learning_rate": RATE,
    r"methods.*.options": empty,
    r"methods.adalora.options.init_r": whole(9, 10**6),
    r"methods.*.options.(r|lora_alpha|alpha|n_frequency|\w+_block_size)": SIZE,
    r"methods.adalora.options.target_r": whole(1, 11),
    r"methods.*.options.(use_\w+|init_lora_weights)": boolean,
    r"methods.*.options.scaling": number(0, 10**6),
    r"methods.*.layers.\w+.last": SIZE,
    r"methods.*.(virtual_tokens|bottleneck|reparameterisation.width)": SIZE,
    r"methods.*.reparameterisation": lambda v: v is None,
    r"methods.*.scale": number(0, 10**6),
    r"train.epochs": whole(1, 10**5),
    r"train.(batch_size|projection_dim)": SIZE,
    r"train.micro_batch_size": or_null(whole(1, 32)),
    r"train.(threads|processes)": whole(1, 32),
    r"train.projection_learning_rate": RATE,
    r"train.weight_decay": lambda v: number(0, 10)(v) or (v == 0 and not isinstance(v, bool)),
    r"train.warmup_ratio": number(0, 0.99),
    r"train.max_grad_norm": number(0, 10**6),
    r"train.(gradient_checkpointing|compile|deterministic)": boolean,
    r"(logging|evaluate)": empty,
    r"logging.\w+_(minutes|seconds)": number(0, 10**6),
    r"logging.loggers": lambda v: v == [],
    r"sweep.learning_rates": empty,
}
# Keys that may be left out.
OPTIONAL = (
    r"paths(.\w+)?|logging(.\w+)?|evaluate(.\w+)?|encoders.*.(max_tokens|seconds)|datasets.*.(split|languages)"
    r"|datasets.*.split.\w+|datasets.stamps.encoders.\w+|encoders.(roberta-base|ast-base|vit-b16).architecture(.\w+)?"
    r"|methods.*.(learning_rate|tuned|target_modules|options|layers|virtual_tokens|bottleneck|scale|placement)"
    r"|methods.*.(activation|deep|reparameterisation)|methods.*.options.\w+|methods.*.layers.\w+"
    r"|methods.*.(budget|modalities|by_modality|alpha_over_rank|by_modality.\w+(.\w+)?)|train.loss.temperature"
    r"|datasets.*.(max_lost|limit|max_videos|max_clips|folder|mirrors|min_seconds)|encoders.of-\w+.source"
    r"|sweep.learning_rates.\w+|paper_scale.\w+"
    r"|train.(?!epochs$|batch_size$|projection_learning_rate$)\w+"
)

NEEDED = ("methods.ln-tuning.target_modules", "methods.ratio.options", "methods.ratio.options.r")


def mutations() -> Iterator[Mutation]:
    """Every mutation of every key."""
    for path in paths(CONFIG):
        old = at(CONFIG, path)
        yield from (Mutation(path, change) for change in (DELETED, RENAMED))
        yield from (Mutation(path, ("value", value)) for value in VALUES if repr(value) != repr(old))


def paths(block: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of nested blocks, as a path."""
    if isinstance(block, dict):
        for name, inner in block.items():
            yield (*before, name)
            yield from paths(inner, (*before, name))


def at(block: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        block = block[step]
    return block


def mutated(mutation: Mutation) -> Any:
    """params.yaml with the mutation."""
    config = copy.deepcopy(CONFIG)
    *above, last = mutation.path
    block = at(config, tuple(above))
    if mutation.change == DELETED:
        del block[last]
    elif mutation.change == RENAMED:
        block[f"{last}x"] = block.pop(last)
    else:
        block[last] = mutation.change[1]
    return config


def is_right(mutation: Mutation) -> bool:
    """Whether the settings are right after a mutation."""
    key = ".".join(mutation.path)
    block = len(mutation.path) == 2 and mutation.path[0] in ("encoders", "methods", "datasets")
    unused = block and not used(*mutation.path)
    if mutation.change == RENAMED:
        return unused
    if mutation.change == DELETED:
        return unused or (matches(OPTIONAL, key) and key not in NEEDED)
    right = next((right for pattern, right in RIGHT.items() if matches(pattern, key)), never)
    return right(mutation.change[1])


def used(section: str, name: str) -> bool:
    """Whether another section names an encoder, a method or a dataset."""
    if section == "encoders":
        return not name.startswith("of-")
    return name in CONFIG["matrix"][section] or name in CONFIG["sweep"]["learning_rates"]


def matches(pattern: str, key: str) -> bool:
    return re.fullmatch(pattern.replace(".*.", r"\.[\w-]+\."), key) is not None


def complaint(mutation: Mutation) -> str | None:
    """What the check of the settings does wrong with a mutation."""
    try:
        check(mutated(mutation))
    except ValueError as error:
        return f"refused: {error}" if is_right(mutation) else complaint_about(str(error), mutation)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None if is_right(mutation) else "accepted"


def complaint_about(message: str, mutation: Mutation) -> str | None:
    """What is wrong with a refusal: every line must begin with a key, one of them with the mutated one."""
    key = ".".join(mutation.path) + ("x" if mutation.change == RENAMED else "")
    lines = message.splitlines()
    keys = [line.removeprefix("params.yaml: ").partition(": ")[0] for line in lines]
    for line, said in zip(lines, keys):
        if not line.startswith("params.yaml: ") or not re.fullmatch(r"[\w.@' -]+", said):
            return f"a line without a key: {line}"
    # Of keys that must fit one another, either may be named.
    together = mutation.path[-1] in ("init_r", "target_r", "options")
    beside = ".".join(mutation.path[:2]) if together else key
    if any(said.startswith((key, beside)) or key.startswith(said) for said in keys):
        return None
    # What is missing is refused where it is needed, by the name of its block.
    missing = mutation.change in (DELETED, RENAMED, ("value", None))
    return None if missing and all(mutation.path[1] in line for line in lines) else message


if __name__ == "__main__":
    every, found = Counter[str](), []
    for tried in mutations():
        every["right" if is_right(tried) else "wrong"] += 1
        if said := complaint(tried):
            found.append(f"{tried}\n    {said}")
    print(
        "\n".join([*found, f"{every.total()} mutations, {every['right']} right; {len(found)} judged wrongly"])
    )
    sys.exit(bool(found))

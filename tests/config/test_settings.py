"""Claims about params.yaml: a mistake is refused in one line with the key, the value and what is allowed."""

import copy
import re
import subprocess
import sys
from functools import reduce

import pytest
import yaml
from conftest import REPOSITORY

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import cell
from crossmodal_peft.config.renamed import CONVERTERS, RENAMED
from crossmodal_peft.config.settings import Matrix, Settings
from crossmodal_peft.config.validation import check, check_files, load

CONFIG = yaml.safe_load((REPOSITORY / "params.yaml").read_text())


def changed(key: str, value: object) -> dict:
    config = copy.deepcopy(CONFIG)
    *path, last = key.split(".")
    reduce(lambda block, name: block[name], path, config)[last] = value
    return config


MISTAKES = [
    ("methods.lora.rnak", 3, ["methods.lora.rnak", "unknown key", "learning_rate"]),
    ("train.epoch", 3, ["train.epoch", "unknown key", "did you mean 'epochs'"]),
    ("nonsense", 3, ["nonsense", "unknown key"]),
    ("matrix.methods", ["loar"], ["matrix.methods", "'loar'", "did you mean 'lora'"]),
    ("matrix.datasets", ["stamp"], ["matrix.datasets", "'stamp'", "stamps"]),
    ("matrix.datasets", ["stamps-image+stamp"], ["matrix.datasets", "'stamp'", "stamps"]),
    ("matrix.datasets", ["stamps+stamps"], ["matrix.datasets", "'stamps+stamps'", "twice"]),
    ("methods.lora.kind", "loar", ["methods.lora.kind", "'loar'", "adapter", "peft_library"]),
    ("methods.full.learning_rate", -1, ["methods.full.learning_rate", "-1", "greater than 0"]),
    ("methods.lora.layers", {"last": 0}, ["methods.lora.layers", "'last': 0", "all"]),
    ("train.loss.kind", "info_nce", ["train.loss.kind", "'info_nce'", "'infonce', 'siglip'"]),
    ("train.loss.temperatur", 0.1, ["train.loss.temperatur", "unknown key", "did you mean 'temperature'"]),
    ("train.loss.temperature", 0, ["train.loss.temperature: 0", "greater than or equal to 0.01"]),
    ("train.epochs", "many", ["train.epochs", "'many'", "integer"]),
    ("datasets.stamps-image.encoders.image", "minilm-l6", ["datasets.stamps-image.encoders.image", "text"]),
    (
        "datasets.stamps-image.encoders.image",
        "dino",
        ["datasets.stamps-image.encoders.image", "dinov2-small"],
    ),
    ("datasets.stamps-image.encoders.video", "dinov2-small", ["datasets.stamps-image.encoders.video"]),
    ("datasets.stamps-image.encoders.image", "vit-b16", ["'vit-b16'", "no source for its weights"]),
    ("datasets.stamps.languages", ["xx"], ["datasets.stamps.languages.0", "'xx'", "'es'"]),
    ("encoders.minilm-l6.family", "bort", ["encoders.minilm-l6.family", "'bort'", "bert"]),
    ("encoders.dinov2-small.image_size", None, ["encoders.dinov2-small.image_size", "padded to this size"]),
    (
        "encoders.vit-b16.source",
        {"hub": "google/vit-base-patch16-224-in21k"},
        ["encoders.vit-b16.source.revision", "40 hexadecimal digits"],
    ),
    (
        "encoders.vit-b16.source",
        {"hub": "google/vit-base-patch16-224-in21k", "revision": "main"},
        ["encoders.vit-b16.source.revision", "'main'", "a branch could change"],
    ),
    (
        "encoders.vit-b16.source",
        {"hub": "vit", "revision": "0" * 40},
        ["encoders.vit-b16.source.hub", "'vit'"],
    ),
    ("train.micro_batch_size", 64, ["train.micro_batch_size", "64", "batch_size 32"]),
    ("train.processes", 33, ["train.processes", "33", "batch_size 32"]),
    ("sweep.seed", 0, ["sweep.seed", "matrix.seeds"]),
    ("evaluate.ks", [1], ["evaluate.ks", "[1]", "1, 5 and 10"]),
    ("train.epochs", "5", ["train.epochs: '5'", "valid integer; write 5 without quotes"]),
    ("train.epochs", True, ["train.epochs: true", "valid integer"]),
    ("train.epochs", 2.0, ["train.epochs: 2.0", "valid integer"]),
    ("train.deterministic", 1, ["train.deterministic: 1", "valid boolean"]),
    ("train.deterministic", "yes", ["train.deterministic: 'yes'", "valid boolean"]),
    ("train.weight_decay", "0.1", ["train.weight_decay: '0.1'", "valid number; write 0.1 without quotes"]),
    ("methods.full.learning_rate", float("inf"), ["methods.full.learning_rate: inf", "finite number"]),
    ("methods.full.learning_rate", 1e300, ["methods.full.learning_rate: 1e+300", "less than or equal to 10"]),
    ("train.warmup_ratio", float("nan"), ["train.warmup_ratio: nan", "finite number"]),
    ("matrix.seeds", [0, 0, 1], ["matrix.seeds: [0, 0, 1]", "0 stands twice"]),
    ("matrix.seeds", [-1], ["matrix.seeds.0: -1", "greater than or equal to 0"]),
    ("matrix.seeds", [2**32], ["matrix.seeds.0: 4294967296", "less than 4294967296"]),
    ("matrix.methods", ["lora", "lora"], ["matrix.methods", "'lora' stands twice"]),
    ("sweep.seed", 2**32, ["sweep.seed: 4294967296", "less than 4294967296"]),
    ("sweep.learning_rates.lora", [1.00000001e-3], ["sweep.learning_rates.lora.0", "six digits", "0.001"]),
    ("methods.adapter.budget", 0.5, ["methods.adapter.budget: 0.5", "200000", "0.5%"]),
    ("methods.adapter.budget", "0%", ["methods.adapter.budget: '0%'", "200000", "0.5%"]),
    (
        "encoders.roberta-base.family",
        "clip",
        ["encoders.roberta-base.family: 'clip' embeds image, not text", "bert"],
    ),
    (
        "encoders.ast-base.family",
        "vit",
        ["encoders.ast-base.family: 'vit' embeds image, not audio", "whisper"],
    ),
    ("methods.LoRA", {"kind": "frozen"}, ["methods.LoRA", "'lora'", "another name"]),
    ("paths.results", "", ["paths.results: ''", "a path"]),
    ("paths.results", "out{x}", ["paths.results: 'out{x}'", "'{'"]),
    ("paths.checkpoints", "..", ["paths.checkpoints: '..'", "end in the name of a folder"]),
    ("paths.raw", "~/data", ["paths.raw: '~/data'", "write it out"]),
    ("paths.raw", "$HOME/data", ["paths.raw: '$HOME/data'", "variables are not filled in"]),
    (
        "encoders.roberta-base.architecture.vocab_sise",
        9,
        ["encoders.roberta-base.architecture.vocab_sise: roberta has no such keyword", "'vocab_size'"],
    ),
    ("encoders.roberta-base.architecture.vocab_size", "9", ["architecture.vocab_size: '9'", "an integer"]),
    ("encoders.vit-b16.architecture.patch_size", 0, ["architecture.patch_size: 0", "greater than 0"]),
    ("encoders.vit-b16.architecture.image_size", True, ["architecture.image_size: true", "an integer"]),
    ("encoders.roberta-base.architecture.model_type", "robert", ["model_type: 'robert'", "no such model"]),
    ("train", 3, ["train: 3", "block of keys"]),
    ("matrix.datasets", "stamps", ["matrix.datasets: 'stamps'", "list"]),
]


@pytest.mark.parametrize(("key", "value", "parts"), MISTAKES, ids=[f"{m[0]}={m[1]}" for m in MISTAKES])
def test_a_mistake_gives_one_line_that_names_it(key, value, parts):
    with pytest.raises(ValueError, match="params.yaml: ") as refusal:
        check(changed(key, value))
    message = str(refusal.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize("key", RENAMED)
def test_a_renamed_key_is_refused_with_its_new_name(key):
    config, path = copy.deepcopy(CONFIG), key.replace("*", "lora").split(".")
    reduce(lambda block, name: block.setdefault(name, {}), path[:-1], config)[path[-1]] = {}
    with pytest.raises(ValueError, match="renamed to") as refusal:
        check(config)
    lines = str(refusal.value).splitlines()
    assert f"params.yaml: {'.'.join(path)}: renamed to {RENAMED[key]}" in lines
    assert all("renamed to" in line for line in lines)


@pytest.mark.parametrize(("old", "new"), CONVERTERS.items())
def test_a_renamed_converter_is_refused_with_its_new_name(old, new):
    with pytest.raises(ValueError, match=f"source.converter: '{old}' was renamed to {new}"):
        check(changed("encoders.minilm-l6.source.converter", old))
    assert new in plugins.names("converters")


@pytest.mark.parametrize("key", RENAMED)
def test_every_new_name_is_a_valid_key(key):
    section = key.split(".")[0]
    name = RENAMED[key].split(".")[-1]
    models = {
        "live": [Settings, Settings.model_fields["logging"].annotation],
        "methods": [plugins.module("methods", "peft_library").Settings],
        "train": [
            Settings.model_fields["train"].annotation,
            plugins.module("losses", "infonce").Settings,
        ],
    }
    assert any(name in model.model_fields for model in models[section])


@pytest.mark.parametrize(
    "name", ["", "..", ".x", "a/b", "-x", "x;y", "{x}", "a b", "a[0]", "a#1", "über", "a+b", "a@1", "x" * 101]
)
@pytest.mark.parametrize("section", ["encoders", "datasets", "methods"])
def test_a_name_that_no_file_or_shell_takes_is_refused_with_what_is_allowed(section, name):
    config = copy.deepcopy(CONFIG)
    config[section][name] = next(iter(config[section].values()))
    with pytest.raises(ValueError, match=f"{section}.*must be a name of up to 100 letters") as refusal:
        check(config)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("path", ["my results", "it's", 'a "b"', "a#1 (2) [x];&", "über", "../x", "/x"])
def test_a_path_may_have_any_sign_that_is_no_pattern(path):
    assert check(changed("paths.results", path)).paths.results == path


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([], "params.yaml: []: must be a block with keys"),
        ({"train.epochs": 2, **CONFIG}, "params.yaml: train.epochs: unknown key; write train: {epochs: …}"),
        ({1: 2, **CONFIG}, "params.yaml: 1: "),
    ],
    ids=["a list", "a key with dots", "a number as key"],
)
def test_what_is_no_block_of_settings_is_refused_in_one_line(config, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        check(config)


def test_an_encoder_folder_that_is_not_there_is_refused_if_the_matrix_needs_it(tmp_path):
    settings = check(changed("encoders.dinov2-small.source", {"folder": str(tmp_path)}))
    with pytest.raises(
        ValueError, match="params.yaml: encoders.dinov2-small.source.folder: .* no such folder"
    ):
        check_files(settings)
    check_files(
        settings.model_copy(
            update={"matrix": Matrix(datasets=["stamps-speech"], methods=["lora"], seeds=[0])}
        )
    )
    (tmp_path / "config.json").write_text("{}")
    check_files(settings)


def test_datasets_with_different_encoders_are_not_trained_together():
    config = changed("matrix.datasets", ["stamps-image+stamps-speech"])
    config["encoders"]["other"] = config["encoders"]["minilm-l6"]
    config["datasets"]["stamps-speech"]["encoders"]["text"] = "other"
    with pytest.raises(ValueError, match="text is embedded by 'minilm-l6' and by 'other'; .* share"):
        check(config)


def test_a_method_that_cannot_act_on_an_encoder_is_refused_for_that_encoder_only():
    config = changed("matrix.methods", ["lora", "prompt"])
    config["encoders"]["whisper-tiny-en"]["family"] = "clap"
    refusal = (
        "matrix.methods: 'prompt' does not fit the encoder 'whisper-tiny-en': .* windows divide; remove it"
    )
    with pytest.raises(ValueError, match=refusal):
        check(config)
    config["methods"]["prompt"]["modalities"] = ["text", "image"]
    check(config)


def test_the_settings_do_not_load_torch():
    modules = "crossmodal_peft.config.validation, crossmodal_peft.config.paths"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_loss_is_infonce_unless_the_settings_say_otherwise():
    config = copy.deepcopy(CONFIG)
    del config["train"]["loss"]
    assert check(config).train.loss == load(REPOSITORY / "params.yaml").train.loss
    assert check(config).train.loss.kind == "infonce" and check(config).train.loss.temperature == 0.07
    assert check(changed("train.loss", {"kind": "siglip"})).train.loss.bias == -10


def test_a_key_of_one_loss_is_refused_for_another():
    with pytest.raises(ValueError, match=r"train\.loss\.temperature: unknown key"):
        check(changed("train.loss", {"kind": "siglip", "temperature": 0.07}))


def test_a_cell_depends_on_its_own_method_and_dataset_only():
    settings = load(REPOSITORY / "params.yaml")
    other = check(changed("methods.adapter.bottleneck", 99))
    assert cell(settings, "stamps-image", "lora", 0) == cell(other, "stamps-image", "lora", 0)
    assert cell(settings, "stamps-image", "adapter", 0) != cell(other, "stamps-image", "adapter", 0)


def test_a_rate_after_the_methods_name_replaces_its_learning_rate():
    settings = load(REPOSITORY / "params.yaml")
    assert cell(settings, "stamps-image", "lora@0.5", 0).tuning.learning_rate == 0.5
    assert cell(settings, "stamps-image", "frozen@0.5", 0).train.projection_learning_rate == 0.5

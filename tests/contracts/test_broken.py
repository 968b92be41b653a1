"""Claims about the suites: each refuses a file that breaks a promise, and says which promise."""

from pathlib import Path

import pytest
import tiny_data
import tiny_raw
from tiny import method

from crossmodal_peft.config import plugins
from crossmodal_peft.contracts import (
    claim_of,
    datasets,
    encoders,
    failure_of,
    loggers,
    methods,
    plots,
    tables,
)
from crossmodal_peft.contracts.results import RUNS
from crossmodal_peft.contracts.tiny import ENCODERS


def opened(folder: Path, kind: str, name: str, addition: str):
    """A registered file with code appended, opened from another folder."""
    original = plugins.PACKAGE / plugins.FOLDERS[kind] / f"{name}.py"
    path = folder / kind / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{original.read_text()}\n\n{addition}\n")
    return plugins.open_file(kind, path)


def failures(suite, case) -> dict[str, str]:
    found = {function.__name__: failure_of(function, case) for function in suite.CHECKS}
    return {name: failure for name, failure in found.items() if failure}


ATTACH = "whole = attach\ndef attach(encoder, layers, settings):\n    whole(encoder, layers, settings)\n"
METHODS = {
    "    encoder.model.requires_grad_(True)": (
        "only_what_it_may_train_is_marked",
        "parameters outside of the given layers train",
    ),
    "    encoder.model.requires_grad_(False)": ("only_what_it_may_train_is_marked", "attach marks nothing"),
    "    encoder.layers[0].register_forward_hook(lambda m, i, out: out + 1)": (
        "layers_below_the_cut_stay",
        "layers below the cut are not the plain encoder's",
    ),
    "    import torch; encoder.unread = torch.nn.Parameter(torch.zeros(2))": (
        "gradients_reach_all_that_trains",
        "no gradient reaches 1 parameters, such as unread",
    ),
    "    encoder.layers[2].register_forward_hook(lambda m, i, out: out - out.mean(0))": (
        "neighbours_and_padding_change_nothing",
        "alone, an item has another output than in a batch",
    ),
    "    import torch; noise = torch.randn(32)\n"
    "    encoder.layers[2].register_forward_hook(lambda m, i, out: out + noise)": (
        "saved_weights_restore_the_output",
        "restored weights give another output",
    ),
    "    encoder.folds.append(lambda: encoder.layers[2].register_forward_hook(lambda m, i, out: out + 1))": (
        "saved_weights_restore_the_output",
        "folding changes the output",
    ),
    "    encoder.layers[2].register_forward_hook(lambda m, i, out: out / 0)": (
        "the_start_is_finite",
        "the output is not finite",
    ),
}


@pytest.mark.parametrize("line", METHODS)
def test_a_method_that_breaks_a_promise_is_refused(line, tmp_path):
    claim, complaint = METHODS[line]
    module = opened(tmp_path, "methods", "adapter", ATTACH + line)
    found = failures(methods, methods.Case(module, method("houlsby"), "bert"))
    assert complaint in found[claim]


def test_a_size_that_changes_nothing_is_refused(tmp_path):
    wrong = "def bottleneck(width, settings):\n    from torch import nn\n    return nn.Linear(width, width)"
    module = opened(tmp_path, "methods", "adapter", wrong)
    found = failures(methods, methods.Case(module, method("houlsby"), "bert"))
    assert found["a_larger_size_trains_more"].startswith("bottleneck 1 and 4 train")


FAMILIES = {
    "def run_layer(layer, hidden, mask):\n    return layer(hidden, None)": (
        "neighbours_and_padding_change_nothing",
        "alone, an item has another output than in a padded batch",
    ),
    'FINAL = ["embeddings.LayerNorm"]': (
        "it_computes_what_the_model_does",
        "another output than the model's",
    ),
    'ROLES = ROLES | {"query": "output.LayerNorm"}': (
        "roles_name_modules",
        "ROLES['query'] names a LayerNorm",
    ),
    'ROLES = ROLES | {"query": "attention.q"}': (
        "roles_name_modules",
        "no module for one of the roles query",
    ),
    "def layers(model):\n    return {'encoder.layer.0': model.encoder.layer[0]}": (
        "all_layers_are_found",
        "1 layers are found, the configuration has 3",
    ),
    "first = preparer\n"
    "def preparer(folder, settings):\n"
    "    prepare = first(folder, settings)\n"
    "    return lambda texts: (prepare(texts)[0] + len(texts), prepare(texts)[1])": (
        "preparing_depends_on_the_medium_alone",
        "medium 0 is prepared differently alone than in a batch",
    ),
    "second = preparer\n"
    "def preparer(folder, settings):\n"
    "    prepare = second(folder, settings)\n"
    "    return lambda texts: (prepare(texts)[0] / 1.0, prepare(texts)[1])": (
        "arrays_are_what_they_must_be",
        "text is prepared as float64",
    ),
    "def run_layer(layer, hidden, mask):\n"
    "    import torch\n"
    "    return hidden + layer.output.dense(layer.intermediate(hidden))": (
        "prefixes_enter_every_layer",
        "a prefix in layer 0 changes nothing",
    ),
}


@pytest.mark.parametrize("addition", FAMILIES)
def test_an_encoder_family_that_breaks_a_promise_is_refused(addition, tmp_path):
    claim, complaint = FAMILIES[addition]
    _, pooling, _, architecture = ENCODERS["bert"]
    module = opened(tmp_path, "encoders", "bert", addition)
    assert complaint in failures(encoders, encoders.Case(module, pooling, architecture))[claim]


ITEMS = "whole = items\ndef items(root, settings):\n    found = list(whole(root, settings))\n"
CHANGE = "from dataclasses import replace\nwhole = items\n"
CHANGE += "def items(root, settings):\n    for item in whole(root, settings):\n        "
DATASETS = {
    ITEMS + "    yield from [*found, found[0]]": ("names_are_unique", "0: the name stands twice"),
    ITEMS + "    yield from found[:0]": ("something_is_found", "no item is found"),
    CHANGE + 'yield replace(item, texts=[" a "]) if isinstance(item, Item) else item': (
        "items_have_every_modality",
        "the caption is ' a '",
    ),
    CHANGE + "yield replace(item, images=[]) if isinstance(item, Item) else item": (
        "items_have_every_modality",
        "0: has no image; yield Refused with the reason",
    ),
    CHANGE + 'yield replace(item, split="dev") if isinstance(item, Item) else item': (
        "groups_stand_on_one_side",
        "0: split is 'dev'",
    ),
    CHANGE + "yield replace(item, group='a', split='train' if item.name == '0' else 'test')"
    " if isinstance(item, Item) else item": (
        "groups_stand_on_one_side",
        "its group 'a' is in train and in test",
    ),
    "calls = []\n" + ITEMS + "    calls.append(1)\n    yield from found[:: (-1) ** len(calls)]": (
        "the_order_is_repeatable",
        "a second time",
    ),
    'def read_image(path):\n    return Image.open(path).convert("L")\nfrom PIL import Image': (
        "pictures_are_rgb",
        "a picture is L, not RGB",
    ),
    "def read_audio(path, rate):\n"
    "    import soundfile\n"
    "    return soundfile.read(path, dtype='float32')[0]": (
        "sounds_are_waves_of_the_rate",
        "0.wav: lasts 0.60 s at 16000 Hz and 1.20 s at 8000",
    ),
    "def download(raw, manifest):\n    return {'source': 'here'}": (
        "the_receipt_names_its_source",
        "the receipt has no licence",
    ),
    "def unpack(raw, out, folder):\n    return raw": (
        "origin_fits_download_and_unpack",
        "unpack(raw, out, folder)",
    ),
}


@pytest.mark.parametrize("addition", DATASETS)
def test_a_dataset_that_breaks_a_promise_is_refused(addition, tmp_path):
    claim, complaint = DATASETS[addition]
    module = opened(tmp_path, "datasets", "manifest", addition)
    block = tiny_raw.make_manifest(tmp_path / "data")
    [case] = datasets.cases(module, block, tiny_data.layout_in(tmp_path))
    assert complaint in failures(datasets, case)[claim]


TABLE = "whole = table\ndef table(quality):\n    made = whole(quality)\n    "
TABLES = {
    TABLE + "return made.shown[0].cells": ("it_is_a_table", "table returns DataFrame, not a Table"),
    TABLE + "made.shown[0].cells.iloc[0, 0] = '12.3 ± nan'\n    return made": (
        "cells_are_text_for_people",
        "shows nan; write a dash",
    ),
    TABLE + "quality['value'] = 0\n    return made": ("it_changes_nothing_and_repeats", "it changes quality"),
    TABLE + "return Table(made.tidy, made.shown, ' ')": ("it_is_a_table", "the caption is empty"),
}


@pytest.mark.parametrize("addition", TABLES)
def test_a_table_that_breaks_a_promise_is_refused(addition, tmp_path):
    claim, complaint = TABLES[addition]
    module = opened(tmp_path, "tables", "recall_at_k", addition)
    assert complaint in failures(tables, tables.Case(module, RUNS[0]))[claim]


PLOT = "whole = plot\ndef plot(histories):\n    figure = whole(histories)\n    "
PLOTS = {
    PLOT + "return figure.axes": ("it_draws_without_a_warning", "plot returns list, not a Figure"),
    PLOT + "figure.set_figwidth(20)\n    return figure": ("it_draws_without_a_warning", "20 inches wide"),
    PLOT + "figure.axes[0].text(0, 0, 'mean nan')\n    return figure": (
        "nothing_missing_is_shown",
        "'mean nan'",
    ),
    PLOT + "import matplotlib; matplotlib.rcParams['font.size'] += 1\n    return figure": (
        "global_settings_stay",
        "it changes matplotlib's font.size",
    ),
}


@pytest.mark.parametrize("addition", PLOTS)
def test_a_plot_that_breaks_a_promise_is_refused(addition, tmp_path):
    from matplotlib import rc_context

    claim, complaint = PLOTS[addition]
    module = opened(tmp_path, "plots", "training_curves", addition)
    with rc_context():
        assert complaint in failures(plots, plots.Case(module, RUNS[0]))[claim]


def test_a_logger_that_writes_nothing_is_refused(tmp_path):
    nothing = "class Nothing:\n    step = epoch = lambda self, report: None\n    close = lambda self: None\n"
    nothing += "def open_logger(folder, made):\n    return Nothing()"
    module = opened(tmp_path, "loggers", "tensorboard", nothing)
    found = failures(loggers, loggers.Case(module))
    assert found["it_writes_into_its_folder"] == "nothing is written into the folder"


def test_every_check_says_in_words_what_it_claims():
    for suite in (methods, encoders, datasets, tables, plots, loggers):
        claims = [claim_of(function) for function in suite.CHECKS]
        assert len(set(claims)) == len(claims)
        assert all(" " in claim for claim in claims)

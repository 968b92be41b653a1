"""Claims about the plots: what they show where, that names stay apart, that files are reproducible."""

import inspect
import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import rcParams
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.path import Path as Line
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from crossmodal_peft.config import plugins
from crossmodal_peft.report.pareto import pareto_front
from crossmodal_peft.report.plots import (
    recall_against_budget,
    recall_against_parameters,
    recall_by_direction,
    styles,
    time_and_memory,
    tint,
    training_curves,
)
from crossmodal_peft.report.plots.recall_against_parameters import free_place
from crossmodal_peft.report.render import write_figure

METHODS = ["frozen", "full", "lora", "prefix", "adapter", "prompt", "bitfit", "layernorm", "dora", "rslora"]
METHODS += ["pissa", "adalora", "ia3", "vera", "fourierft"]
DIRECTIONS = ["text->audio", "audio->text", "text->image", "image->text"]


def frames_of(methods: int, seeds: int, datasets: int, directions: int = 4) -> dict[str, pd.DataFrame]:
    """Plausible csv contents; costs lie as close together as real methods do."""
    random = np.random.default_rng(0)
    quality, costs, histories = [], [], []
    for dataset in [f"data-{number}" for number in range(datasets)]:
        for place, method in enumerate(METHODS[:methods]):
            for seed in range(seeds):
                cell = {"dataset": dataset, "method": method, "seed": seed}
                for direction in DIRECTIONS[:directions]:
                    for metric, level in (("hit@1", 0.2), ("hit@5", 0.4), ("hit@10", 0.5)):
                        value = level + 0.01 * place + 0.01 * random.normal()
                        row = {"direction": direction, "metric": metric, "value": value}
                        quality.append({**cell, **row, "queries": 161, "gallery": 190})
                trainable = 44_000_000 if method == "full" else 200_000 + 20_000 * place
                measured = {"seconds": 30 + place + random.normal(), "peak_memory_bytes": 1e9}
                costs.append({**cell, "trainable": trainable, **measured})
                for epoch in range(1, 5):
                    curve = {"epoch": epoch, "loss": 4 / epoch, "validation_recall": 0.1 * epoch}
                    histories.append({**cell, **curve})
    return {
        "quality": pd.DataFrame(quality),
        "costs": pd.DataFrame(costs),
        "histories": pd.DataFrame(histories),
    }


def drawn(name: str, frames: dict[str, pd.DataFrame]) -> Figure:
    module = plugins.module("plots", name)
    return module.plot(**{key: frames[key] for key in module.INPUTS})


@pytest.mark.parametrize("name", plugins.names("plots"))
def test_every_plot_declares_the_csv_files_that_it_takes(name):
    module = plugins.module("plots", name)
    assert list(inspect.signature(module.plot).parameters) == module.INPUTS


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", ["recall_against_parameters", "recall_by_direction", "training_curves", "time_and_memory"]
)
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (15, 2, 1, 4), (5, 3, 3, 2)])
def test_every_plot_draws_one_cell_and_many_without_a_warning(name, size):
    figure = drawn(name, frames_of(*size))
    figure.draw_without_rendering()
    assert figure.get_figwidth() <= 8


@pytest.mark.parametrize("name", ["recall_against_parameters", "training_curves"])
def test_the_same_figure_is_written_as_the_same_bytes(name, tmp_path):
    for folder in ("first", "second"):
        write_figure(drawn(name, frames_of(3, 2, 1)), tmp_path / folder / name)
    for ending in ("png", "svg"):
        first, second = (
            (tmp_path / folder / f"{name}.{ending}").read_bytes() for folder in ("first", "second")
        )
        assert first == second
    assert b"<dc:date>" not in (tmp_path / "first" / f"{name}.svg").read_bytes()


def test_sixty_methods_all_look_different_and_the_order_decides():
    names = [f"method-{number}" for number in range(60)]
    looks = styles(names)
    assert len({(look.colour, look.marker) for look in looks.values()}) == 60
    assert styles([*names, *names])["method-7"] == looks["method-7"]


@pytest.mark.parametrize(
    ("share", "colour"), [(0, "#ffffff"), (0.5, "#ff8080"), (1, "#ff0000"), (2, "#000000")]
)
def test_a_tint_runs_from_white_over_the_colour_to_black(share, colour):
    assert to_hex(tint("#ff0000", share)) == colour


def test_a_method_has_the_same_colour_in_every_plot():
    frames = frames_of(5, 2, 1)
    scatter = drawn("recall_against_parameters", frames).axes[0]
    points = {container.lines[0].get_color() for container in scatter.containers}
    curves = {line.get_color() for line in drawn("training_curves", frames).axes[0].lines}
    bars = {
        container.lines[0].get_color() for container in drawn("time_and_memory", frames).axes[0].containers
    }
    assert points == curves == bars == {look.colour for look in styles(METHODS[:5]).values()}


def test_points_stand_at_the_mean_over_directions_and_seeds_with_the_deviation_over_seeds():
    values = {0: (0.1, 0.3), 1: (0.3, 0.5)}  # by seed: text->image, image->text; their means are 0.2 and 0.4
    quality = pd.DataFrame(
        [
            {
                "dataset": "d",
                "method": "lora",
                "seed": seed,
                "direction": direction,
                "metric": "hit@1",
                "value": value,
            }
            for seed, pair in values.items()
            for direction, value in zip(("text->image", "image->text"), pair, strict=True)
        ]
    )
    costs = pd.DataFrame({"dataset": "d", "method": "lora", "seed": [0, 1], "trainable": 1000})
    [container] = recall_against_parameters.plot(quality, costs).axes[0].containers
    assert container.lines[0].get_xydata() == pytest.approx(np.array([[1000, 30.0]]))
    [bar] = container.lines[2][0].get_segments()
    assert bar[:, 1] == pytest.approx([30 - 10 * 2**0.5, 30 + 10 * 2**0.5])


def test_only_methods_that_no_cheaper_one_reaches_are_on_the_front():
    points = pd.DataFrame(
        [
            ("cheap", 1, 5.0),
            ("worse", 2, 4.0),
            ("level", 3, 5.0),
            ("better", 3, 7.0),
            ("dear", 9, 6.9),
            ("top", 10, 8.0),
        ],
        columns=["method", "trainable", "mean"],
    )
    assert list(pareto_front(points)["method"]) == ["cheap", "better", "top"]


def test_where_less_is_better_the_front_falls():
    points = pd.DataFrame(
        [("cheap", 1, 50.0), ("worse", 2, 60.0), ("better", 3, 20.0), ("level", 4, 20.0)],
        columns=["method", "trainable", "mean"],
    )
    assert list(pareto_front(points, "lower")["method"]) == ["cheap", "better"]


def test_names_of_fifteen_crowded_methods_do_not_overlap():
    figure = drawn("recall_against_parameters", frames_of(15, 3, 2))
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} == set(METHODS)
        # Not the annotation's own extent, which includes the line to its point.
        boxes = [Text.get_window_extent(text) for text in axes.texts]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        assert all(axes.bbox.padded(1).contains(*corner) for box in boxes for corner in box.corners())


def test_a_name_stands_right_of_its_point_unless_that_is_taken_or_outside():
    room = Bbox.from_bounds(0, 0, 200, 200)
    right = free_place((100, 100), (20, 10), room, [], [])
    assert right.x0 > 100
    assert right.y0 < 100 < right.y1
    moved = free_place((100, 100), (20, 10), room, [right], [])
    assert not moved.overlaps(right)
    at_the_edge = free_place((195, 100), (20, 10), room, [], [])
    assert at_the_edge.x1 <= 200
    walled = free_place((100, 100), (20, 10), room, [], [Line([(110, 0), (110, 200)])])
    assert walled.x1 <= 110


def test_directions_of_a_pair_stand_side_by_side_with_a_row_per_method():
    figure = recall_by_direction.plot(frames_of(3, 2, 1)["quality"])
    assert [axes.get_title() for axes in figure.axes] == [
        "data-0: text → audio", "data-0: audio → text", "data-0: text → image", "data-0: image → text",
    ]  # fmt: skip
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == METHODS[:3]
    assert len(figure.axes[0].containers) == 9  # three methods, R@1, R@5 and R@10 of each


def test_a_curve_ends_where_the_first_seed_stopped():
    rows = [(0, 1, 4.0), (0, 2, 2.0), (0, 3, 1.0), (1, 1, 6.0), (1, 2, 4.0)]
    histories = pd.DataFrame(rows, columns=["seed", "epoch", "loss"])
    histories = histories.assign(dataset="d", method="lora", validation_recall=0.5)
    figure = training_curves.plot(histories)
    [recall], [loss] = (axes.lines for axes in figure.axes)
    assert loss.get_xydata().tolist() == [[1, 5.0], [2, 3.0]]
    assert set(recall.get_ydata()) == {50.0}


def test_memory_is_drawn_in_megabytes_from_zero():
    figure = time_and_memory.plot(frames_of(1, 2, 1)["costs"])
    memory = figure.axes[1]
    assert memory.containers[0].lines[0].get_xdata() == pytest.approx([1000])
    assert memory.get_xlim()[0] == 0


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "One seed: no error bars."), (3, "Mean over 3 seeds; error bars")]
)
def test_the_figure_says_what_its_error_bars_are(seeds, words):
    assert words in drawn("time_and_memory", frames_of(2, seeds, 1)).get_supxlabel()


def test_drawing_leaves_the_settings_of_matplotlib_alone(tmp_path):
    names = set(rcParams) - {"backend"}  # which matplotlib resolves when it is read
    before = {name: rcParams[name] for name in names}
    write_figure(drawn("time_and_memory", frames_of(2, 1, 1)), tmp_path / "figure")
    assert {name: rcParams[name] for name in names} == before


def test_without_a_method_at_a_budget_the_figure_says_so():
    frames = frames_of(2, 1, 1)
    costs = frames["costs"].assign(budget=math.nan, method_parameters=1)  # As an empty column is read.
    [text] = recall_against_budget.plot(frames["quality"], costs).texts
    assert text.get_text() == "no method has a budget"


def test_axes_and_legends_are_named_by_the_registry():
    frames = frames_of(2, 1, 1)
    by_direction = recall_by_direction.plot(frames["quality"])
    assert {axes.get_xlabel() for axes in by_direction.axes} == {"R@K (%)"}
    [legend] = by_direction.legends
    assert [text.get_text() for text in legend.get_texts()] == ["R@1", "R@5", "R@10"]
    [axes] = drawn("recall_against_parameters", frames).axes
    assert axes.get_ylabel() == "R@1, mean over directions (%)"


def test_budgets_of_a_method_make_a_line_from_small_to_large_and_other_methods_are_left_out():
    frames = frames_of(5, 2, 1)
    names = {
        "frozen": "lora-2",
        "full": "full",
        "lora": "lora-0.5",
        "prefix": "prefix-2",
        "adapter": "lora-0.1",
    }
    budgets = {"lora-2": "2%", "lora-0.5": "0.5%", "lora-0.1": "0.1%", "prefix-2": "2%"}
    sizes = {"lora-2": 40, "lora-0.5": 10, "lora-0.1": 2, "prefix-2": 39, "full": 999}
    for frame in (frames["quality"], frames["costs"]):
        frame["method"] = frame["method"].map(names)
    costs = frames["costs"]
    costs["budget"], costs["method_parameters"] = costs["method"].map(budgets), costs["method"].map(sizes)
    [axes] = recall_against_budget.plot(frames["quality"], costs).axes
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.get_lines()}
    assert lines == {"lora": [2, 10, 40], "prefix": [39]}
    recall = frames["quality"].query("method == 'lora-0.5' and metric == 'hit@1'")["value"].mean()
    assert axes.get_lines()[0].get_ydata()[1] == pytest.approx(100 * recall)

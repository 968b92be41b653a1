"""This project's loop against a bare loop over tensors in memory, and its cost at 1, 4 and 16× the items.

Usage: python benchmarks/training_floor.py [floor] [size] [--folder PATH] [--params PATH] [--rounds 2]

`training.py` starts it pinned to one core. The bare loop runs forward, loss, backward and optimiser step on
the same model, in the same process, on an epoch's batches drawn beforehand; the two loops take turns.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pandas as pd
import training_data
from report import describe_machine, markdown, write_section
from training_ours import Enough, Loop, ensure_arrays, timed

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell import cell as cell_of
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Settings
from crossmodal_peft.training.embed import embed_split
from crossmodal_peft.training.trained import open_data

SECONDS = 4.0  # Minimum duration of a turn in the comparison with the bare loop.
ITEMS = 96  # Items of an epoch where encoders run; otherwise an epoch is the whole split.
SIZES = (1, 4, 16)
ITEMS_COPIED = 64
BASE_ITEMS = {"frozen": 4096, "lora": 128}  # Enough for a pass at 1× to take most of a second.


def layout_of(settings: Settings, folder: Path) -> Layout:
    """The layout of the benchmark's arrays."""
    return Layout(Path(settings.paths.raw), folder / "prepared", folder / "checkpoints", folder / "results")


def default_cells(settings: Settings) -> list[Cell]:
    """The default matrix at its first seed."""
    matrix = settings.matrix
    return [cell_of(settings, d, m, matrix.seeds[0]) for d in matrix.datasets for m in matrix.methods]


def prepare(settings: Settings, folder: Path) -> None:
    """Compute all arrays in advance, which does not need an idle machine."""
    for cell in default_cells(settings):
        ensure_arrays(cell, layout_of(settings, folder))


def compare(cell: Cell, layout: Layout, rounds: int) -> list[str]:
    """A row: median samples/s of the bare loop and of ours, and the median ratio over pairs of turns."""
    manifest, _ = open_data(cell, layout)
    items = manifest.loc[manifest.split == "train", "item"].drop_duplicates()
    bare_projections = all(cell.tuning.cut(modality) == "pooled" for modality in cell.encoders)
    loop = Loop(cell, layout, list(items if bare_projections else items.sample(ITEMS, random_state=0)))
    batches, floor = loop.batches(), loop.floor()
    floor(batches)  # Warms up.
    passes = max(1, round(SECONDS / timed(lambda: floor(batches))))
    bare, ours, epochs = [], [], []

    def between() -> None:
        """Count the epoch that ended; after every `passes` epochs, give the bare loop its turn."""
        if epochs:
            epochs.append(time.perf_counter())
        if len(epochs) == passes + 1:
            ours.append(epochs[-1] - epochs[0])
            epochs.clear()
        if not epochs:
            if len(ours) > rounds:
                raise Enough
            bare.append(timed(lambda: [floor(batches) for _ in range(passes)]))
            epochs.append(time.perf_counter())

    loop.run(between)
    pairs = list(zip(bare, ours))[1:]
    items = passes * loop.items
    speeds = [items / statistics.median(column) for column in zip(*pairs)]
    shares = [100 * bare / ours for bare, ours in pairs]
    return [
        cell.dataset,
        cell.method,
        f"{speeds[0]:.1f}",
        f"{speeds[1]:.1f}",
        f"{statistics.median(shares):.1f} %",
        f"{min(shares):.1f}–{max(shares):.1f} %",
    ]


def floor(settings: Settings, folder: Path, rounds: int) -> None:
    """Compare every default cell with its bare loop and write the table."""
    rows = []
    for cell in default_cells(settings):
        ensure_arrays(cell, layout_of(settings, folder))
        rows.append(compare(cell, layout_of(settings, folder), rounds))
        print(rows[-1], flush=True)
    head = ["dataset", "method", "bare loop, samples/s", "our loop, samples/s", "share", "range"]
    conditions = f"{describe_machine()}; one pinned core, one thread, batch {settings.train.batch_size}, "
    conditions += f"{rounds} pairs of at least {SECONDS:.0f} s each, one more dropped"
    write_section("training floor", f"**Share of the bare loop.** {conditions}.\n\n{markdown(head, rows)}")


def repeat(manifest: pd.DataFrame, times: int) -> pd.DataFrame:
    """The manifest with every item repeated `times` times, under new names and rows."""
    sizes = manifest.groupby("modality")["row"].max() + 1
    copies = [
        manifest.assign(
            item=manifest["item"] + f"#{copy}",
            row=manifest["row"] + copy * manifest["modality"].map(sizes),
            group=manifest["group"] + f"#{copy}",
        )
        for copy in range(times)
    ]
    return pd.concat(copies, ignore_index=True)


def enlarge(cell: Cell, layout: Layout, items: int, folder: Path) -> Layout:
    """A prepared folder with `items` items, copies of the dataset's first ones, in files of that size."""
    times = items // ITEMS_COPIED
    larger = Layout(layout.raw, folder, folder, folder)
    manifest = pd.read_parquet(layout.manifest(cell.dataset))
    manifest = manifest[manifest.row >= 0]
    base = manifest[manifest["item"].isin(manifest["item"].unique()[:ITEMS_COPIED])].copy()
    base["split"] = "train"
    for modality, path in layout.arrays(cell)[cell.dataset].items():
        rows = base.loc[base.modality == modality, "row"].to_numpy()
        array = np.load(path, mmap_mode="r")[rows]
        base.loc[base.modality == modality, "row"] = np.arange(len(rows))
        out = larger.activations(cell.dataset, modality, cell.tuning.cut(modality))
        out.parent.mkdir(parents=True, exist_ok=True)
        shape = (len(rows) * times, *array.shape[1:])
        file = np.lib.format.open_memmap(out, "w+", array.dtype, shape)
        for copy in range(times):
            file[copy * len(rows) : (copy + 1) * len(rows)] = array
        file.flush()
    repeat(base, times).to_parquet(larger.manifest(cell.dataset), index=False)
    return larger


class AnonymousMemory:
    """Peak of this process's own memory in MB while it is entered: RssAnon, without mapped files (Linux)."""

    def __enter__(self):
        self.peak, self.done = 0.0, Event()
        self.thread = Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object):
        self.done.set()
        self.thread.join()

    def _watch(self) -> None:
        while True:
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            now = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / 1e6
            self.peak = max(self.peak, now)
            if self.done.wait(0.02):
                return


def timed_stages(cell: Cell, layout: Layout, times: int) -> dict[str, tuple[float, float]]:
    """Milliseconds an item and peak memory in MB of each stage, on so many times the method's base of items.

    Small sizes are passed over more often, so that every size is timed on as many items.
    """
    passes, items = max(SIZES) // times, BASE_ITEMS[cell.method] * times
    with tempfile.TemporaryDirectory(dir=layout.prepared) as folder:
        loop = Loop(cell, enlarge(cell, layout, items, Path(folder)))

        def embed() -> None:
            embed_split(loop.model, loop.manifest, loop.activations, "train", loop.precision)

        stages = {
            "training": lambda: loop.epochs(passes),
            "embedding": lambda: timed(lambda: [embed() for _ in range(passes)]),
        }
        found = {}
        for name, stage in stages.items():
            with AnonymousMemory() as memory:
                seconds = stage()
            found[name] = (1000 * seconds / (items * passes), memory.peak)
    return found


def size(settings: Settings, folder: Path, rounds: int) -> None:
    """Measure the cost at growing sizes and write the table."""
    layout, rows = layout_of(settings, folder), []
    for method in BASE_ITEMS:
        cell = cell_of(settings, training_data.DATASET, method, 0)
        ensure_arrays(cell, layout)
        # Sizes take turns, so that other load affects them alike; the fastest round counts.
        turns = [{times: timed_stages(cell, layout, times) for times in SIZES} for _ in range(rounds)]
        for stage in turns[0][SIZES[0]]:
            costs = [min(one[times][stage][0] for one in turns) for times in SIZES]
            peaks = [turns[0][times][stage][1] for times in SIZES]
            shown = [f"{cost:.3g}" for cost in costs] + [f"{100 * (max(costs) / min(costs) - 1):.0f} %"]
            rows.append([method, stage, *shown, *(f"{peak:.0f}" for peak in peaks)])
            print(rows[-1], flush=True)
    head = ["method", "stage", *(f"ms an item, {times}×" for times in SIZES), "spread"]
    head += [f"peak MB, {times}×" for times in SIZES]
    bases = " and ".join(f"{items} items for {method}" for method, items in BASE_ITEMS.items())
    text = f"**Cost against size.** {describe_machine()}; one pinned core, one thread; 1× is {bases}."
    write_section("training size", f"{text}\n\n{markdown(head, rows)}")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=["floor", "size"])
    parser.add_argument("--rounds", type=int, default=2, help="pairs of epochs, and turns over the sizes")
    parser.add_argument("--folder", type=Path, default=Path("data/benchmarks"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    parts = {"floor": floor, "size": size}
    for part in arguments.parts:
        parts[part](training_data.settings_at(arguments.params), arguments.folder, arguments.rounds)


if __name__ == "__main__":
    main()

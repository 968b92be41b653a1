"""The command line: arguments → stages."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from crossmodal_peft import stages
from crossmodal_peft.interruption import EXIT_CODE, Interrupted
from crossmodal_peft.layout import Layout
from crossmodal_peft.records import CELL_FILE
from crossmodal_peft.settings import AnyEncoder, Carrier, Cell, Live, Paths, Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)

SettingsJson = Annotated[str, typer.Option("--settings", help="What the stage depends on, as JSON.")]
PathsJson = Annotated[str, typer.Option("--paths", help="The four roots of params.yaml's `paths`, as JSON.")]
Ks = Annotated[str, typer.Option(help="The K in hit@K and its kin, with commas.")]
CellName = Annotated[str, typer.Argument(help="dataset/method/seed, or the folder of a checkpoint.")]
Split = Annotated[str, typer.Option(help="train, validation or test.")]
Out = Annotated[Path | None, typer.Option(help="Also write the table as CSV.")]
DEFAULT_PATHS = Paths().model_dump_json()


def main() -> None:
    """Run a command; a failure is one line, and exit code 1; an interrupted training's exit code is 75."""
    try:
        app()
    except Interrupted as reason:
        print(f"crossmodal-peft: {reason}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except (ValueError, RuntimeError, OSError, FloatingPointError) as error:
        sys.exit(f"crossmodal-peft: {error}")


@app.command()
def download_dataset(kind: str, paths: PathsJson = DEFAULT_PATHS) -> None:
    """Fetch a dataset's files."""
    stages.download_dataset(kind, _layout(paths))


@app.command()
def download_encoder(name: str, settings: SettingsJson, paths: PathsJson = DEFAULT_PATHS) -> None:
    """Fetch an encoder's weights and write a Hugging Face folder."""
    stages.download_encoder(name, Carrier.model_validate_json(settings), _layout(paths))


@app.command()
def prepare(name: str, settings: SettingsJson, paths: PathsJson = DEFAULT_PATHS) -> None:
    """Decode a dataset into memory-mapped arrays and a manifest."""
    content = json.loads(settings)
    data = _field("datasets", {name: content["data"]})[name]
    encoders = _field("encoders", content["encoders"])
    print(stages.prepare_dataset(name, data, encoders, _layout(paths)), flush=True)


@app.command()
def trunk(
    dataset: str,
    modality: str,
    cut: str,
    encoder: str,
    settings: SettingsJson,
    paths: PathsJson = DEFAULT_PATHS,
) -> None:
    """Compute activations of a frozen trunk at a cut."""
    layout = _layout(paths)
    checked: Any = TypeAdapter(AnyEncoder).validate_json(settings)
    stages.compute_trunk(dataset, modality, cut, layout.encoder(encoder), checked, layout)


@app.command()
def train(
    settings: SettingsJson,
    paths: PathsJson = DEFAULT_PATHS,
    live: Annotated[str, typer.Option(help="The settings `live` of params.yaml, as JSON.")] = "{}",
    lines: Annotated[bool, typer.Option("--lines", help="Progress as lines, also on a terminal.")] = False,
) -> None:
    """Train one cell, in as many processes as it asks for, or go on with one that was interrupted.

    SIGTERM or Ctrl-C writes its state after the step under way and ends with exit code 75: run it again.
    """
    from crossmodal_peft import processes

    cell, bar = Cell.model_validate_json(settings), sys.stderr.isatty() and not lines
    if cell.train.processes > 1 and not processes.launched():
        processes.launch([sys.executable, "-m", "crossmodal_peft.cli", *sys.argv[1:]], cell.train.processes)
        return
    with processes.group(cell.train.processes):
        stages.train_cell(cell, _layout(paths), Live.model_validate_json(live), bar)


@app.command()
def record(cell: str, ks: Ks = "1,5,10", paths: PathsJson = DEFAULT_PATHS) -> None:
    """Score a trained cell (dataset/method/seed) on the test split and write its record."""
    stages.record_cell(cell, _ks(ks), _layout(paths))


@app.command()
def evaluate(
    cell: CellName,
    split: Split = "test",
    ks: Ks = "1,5,10",
    out: Out = None,
    paths: PathsJson = DEFAULT_PATHS,
) -> None:
    """Print a trained cell's metrics on any split, with intervals, sizes and what to beware of.

    crossmodal-peft evaluate stamps-image/lora/0 --split validation
    """
    _show(stages.score_split(_name(cell), split, _ks(ks), _layout(paths)), out)


@app.command()
def compare(
    cells: list[str],
    split: Split = "test",
    ks: Ks = "1,5,10",
    out: Out = None,
    paths: PathsJson = DEFAULT_PATHS,
) -> None:
    """Compare trained cells of one dataset with the first of them: intervals and paired differences.

    crossmodal-peft compare stamps-speech/frozen/0 stamps-speech/lora/0 stamps-speech/full/0
    """
    from crossmodal_peft.comparison import COMPARED, compare_cells

    layout = _layout(paths)
    table = compare_cells({cell: stages.score_split(_name(cell), split, _ks(ks), layout) for cell in cells})
    print(f"{table.to_markdown(index=False, floatfmt='.3f')}\n\n{COMPARED}")
    if out:
        table.to_csv(out, index=False)


@app.command()
def score(
    queries: Annotated[Path, typer.Option(help="Embeddings of the queries: .npy, (queries, width).")],
    gallery: Annotated[Path, typer.Option(help="Embeddings of the gallery: .npy, (items, width).")],
    relevance: Annotated[
        Path, typer.Option(help="CSV with the columns query and item: relevant pairs of rows, or of ids.")
    ],
    query_ids: Annotated[Path | None, typer.Option(help="Ids of the queries, one a line.")] = None,
    gallery_ids: Annotated[Path | None, typer.Option(help="Ids of the gallery, one a line.")] = None,
    ks: Ks = "1,5,10",
    out: Out = None,
) -> None:
    """Score embeddings that were made elsewhere (normalise them first for cosine similarity).

    crossmodal-peft score --queries q.npy --gallery g.npy --relevance relevant.csv
    """
    from crossmodal_peft.evaluate import evaluate_direction
    from crossmodal_peft.external import read_relevance, read_sides

    ours, theirs = read_sides(queries, gallery, query_ids, gallery_ids)
    pairs = read_relevance(relevance, ours, theirs)
    _show({"queries->gallery": evaluate_direction(ours, theirs, pairs, _ks(ks))}, out)


@app.command()
def compare_all(query_files: list[Path], paths: PathsJson = DEFAULT_PATHS) -> None:
    """Write intervals.csv, significance.csv and hardest.csv from the queries.parquet files of all cells."""
    stages.compare_all(query_files, _layout(paths))


@app.command()
def merge(cell: str, out: Path, paths: PathsJson = DEFAULT_PATHS) -> None:
    """Fold a trained cell (dataset/method/seed) of a LoRA-like method into plain Hugging Face folders."""
    stages.merge_cell(cell, out, _layout(paths))


@app.command()
def aggregate(records: list[Path], paths: PathsJson = DEFAULT_PATHS) -> None:
    """Collect records into quality.csv, costs.csv and histories.csv."""
    from crossmodal_peft.aggregate import aggregate as collect

    collect(records, _layout(paths).results)


@app.command()
def overview(paths: PathsJson = DEFAULT_PATHS) -> None:
    """Write overview.csv and metrics/, recall and costs of each method, from the aggregated results."""
    stages.write_overview(_layout(paths))


@app.command()
def count(settings: SettingsJson, paths: PathsJson = DEFAULT_PATHS) -> None:
    """Count every method's parameters at the paper's scale, without weights."""
    from crossmodal_peft.files import whole
    from crossmodal_peft.parameters import count_on_meta

    content = json.loads(settings)
    table = count_on_meta(
        _field("methods", content["methods"]), _field("encoders", content["encoders"]), content["width"]
    )
    with whole(_layout(paths).results / "paper_scale.csv") as path:
        table.to_csv(path, index=False)


@app.command()
def table(name: str, paths: PathsJson = DEFAULT_PATHS) -> None:
    """Render one table as CSV, Markdown and LaTeX."""
    stages.write_table(name, _layout(paths))


@app.command()
def plot(name: str, paths: PathsJson = DEFAULT_PATHS) -> None:
    """Render one plot as PNG and SVG."""
    stages.write_plot(name, _layout(paths))


@app.command()
def sweep(cell_files: list[Path], out: Annotated[Path, typer.Option(help="Stem of the table.")]) -> None:
    """Write the table of a learning-rate sweep as CSV and Markdown."""
    from crossmodal_peft.files import whole
    from crossmodal_peft.sweep import as_markdown, learning_rates

    rates = learning_rates(cell_files)
    with whole(out.with_suffix(".csv")) as path:
        rates.to_csv(path, index=False, float_format="%.6g")
    with whole(out.with_suffix(".md")) as path:
        path.write_text(as_markdown(rates))


def _name(cell: str) -> str:
    """A cell's name, or the absolute path of a checkpoint folder, which stands for it."""
    return str(Path(cell).absolute()) if (Path(cell) / CELL_FILE).exists() else cell


def _show(directions: dict[str, Any], out: Path | None) -> None:
    """Print the table of an evaluation, and write all of it where wanted."""
    from crossmodal_peft.evaluation_table import readable, summary_table
    from crossmodal_peft.files import whole

    print(readable(directions))
    if out:
        with whole(out) as path:
            summary_table(directions).to_csv(path, index=False)


def _ks(ks: str) -> list[int]:
    return [int(k) for k in ks.split(",")]


def _layout(paths: str) -> Layout:
    return Layout.of(Paths.model_validate_json(paths))


def _field(name: str, content: Any) -> Any:
    """Check content as one field of the settings."""
    annotation: Any = Settings.model_fields[name].annotation
    return TypeAdapter(annotation).validate_python(content)


if __name__ == "__main__":  # How torchrun starts it.
    main()

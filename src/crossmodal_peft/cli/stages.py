"""The stages of the workflow as commands, which Snakemake calls."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from crossmodal_peft.cli.arguments import DEFAULT_PATHS, Ks, PathsOption, ks_of, layout_of
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.settings import AnyEncoder, Logging, Settings
from crossmodal_peft.files import json_object
from crossmodal_peft.stages.aggregate import aggregate_records
from crossmodal_peft.stages.cache_activations import compute_activations
from crossmodal_peft.stages.compare_methods import write_comparisons
from crossmodal_peft.stages.count_parameters import count_parameters
from crossmodal_peft.stages.download_dataset import fetch_dataset
from crossmodal_peft.stages.download_encoder import fetch_encoder
from crossmodal_peft.stages.evaluate import record_cell
from crossmodal_peft.stages.overview import write_overview
from crossmodal_peft.stages.page import write_page
from crossmodal_peft.stages.plot import write_plot
from crossmodal_peft.stages.prepare import prepare_dataset
from crossmodal_peft.stages.settings_page import write_settings_page
from crossmodal_peft.stages.summary import write_summary
from crossmodal_peft.stages.sweep import write_sweep
from crossmodal_peft.stages.table import write_table
from crossmodal_peft.stages.train import train_cell

app = typer.Typer()
PANEL = "Stages (Snakemake calls them)"
SettingsJson = Annotated[str, typer.Option("--settings", help="Everything the stage depends on, as JSON.")]


@app.command(rich_help_panel=PANEL)
def download_dataset(
    source: str, kind: str, settings: SettingsJson = "{}", paths: PathsOption = DEFAULT_PATHS
) -> None:
    """Download or locate a dataset's files."""
    fetch_dataset(source, kind, _object(settings), layout_of(paths))


@app.command(rich_help_panel=PANEL)
def download_encoder(name: str, settings: SettingsJson, paths: PathsOption = DEFAULT_PATHS) -> None:
    """Download an encoder's weights and write a Hugging Face folder."""
    encoder: Any = TypeAdapter(AnyEncoder).validate_json(settings)
    fetch_encoder(name, encoder, layout_of(paths))


@app.command(rich_help_panel=PANEL)
def prepare(name: str, settings: SettingsJson, paths: PathsOption = DEFAULT_PATHS) -> None:
    """Decode a dataset into memory-mapped arrays and a manifest."""
    content = _object(settings)
    dataset = _field("datasets", {name: content["data"]})[name]
    encoders = _field("encoders", content["encoders"])
    print(prepare_dataset(name, dataset, encoders, layout_of(paths)), flush=True)


@app.command(rich_help_panel=PANEL)
def cache_activations(
    dataset: str,
    modality: str,
    cut: str,
    encoder: str,
    settings: SettingsJson,
    paths: PathsOption = DEFAULT_PATHS,
) -> None:
    """Compute the activations of an encoder's frozen layers up to a cut."""
    layout = layout_of(paths)
    checked: Any = TypeAdapter(AnyEncoder).validate_json(settings)
    compute_activations(dataset, modality, cut, layout.encoder(encoder), checked, layout)


@app.command(rich_help_panel=PANEL)
def train(
    settings: SettingsJson,
    paths: PathsOption = DEFAULT_PATHS,
    logging: Annotated[str, typer.Option(help="The section `logging` of params.yaml, as JSON.")] = "{}",
    lines: Annotated[bool, typer.Option("--lines", help="Progress as lines, even on a terminal.")] = False,
) -> None:
    """Train one cell in the number of processes that its settings ask for, or resume an interrupted one.

    On SIGTERM or Ctrl-C it saves its state after the current step and exits with code 75: run it again.
    Users train through the workflow, which first creates what is missing:
    snakemake checkpoints/stamps-image/lora/0/cell.json
    """
    from crossmodal_peft.training import distributed

    cell, bar = Cell.model_validate_json(settings), sys.stderr.isatty() and not lines
    if cell.train.processes > 1 and not distributed.launched():
        distributed.launch([sys.executable, "-m", "crossmodal_peft.cli", *sys.argv[1:]], cell.train.processes)
        return
    with distributed.group(cell.train.processes):
        train_cell(cell, layout_of(paths), Logging.model_validate_json(logging), bar)


@app.command(rich_help_panel=PANEL)
def record(cell: str, ks: Ks = "1,5,10", paths: PathsOption = DEFAULT_PATHS) -> None:
    """Score a trained cell (dataset/method/seed) on the test split and write its record."""
    record_cell(cell, ks_of(ks), layout_of(paths))


@app.command(rich_help_panel=PANEL)
def compare_all(query_files: list[Path], paths: PathsOption = DEFAULT_PATHS) -> None:
    """Write intervals.csv, significance.csv and hardest.csv from the queries.parquet files of all cells."""
    write_comparisons(query_files, layout_of(paths))


@app.command(rich_help_panel=PANEL)
def aggregate(records: list[Path], paths: PathsOption = DEFAULT_PATHS) -> None:
    """Collect records into quality.csv, costs.csv, histories.csv and provenance.csv."""
    aggregate_records(records, layout_of(paths))


@app.command(rich_help_panel=PANEL)
def overview(paths: PathsOption = DEFAULT_PATHS) -> None:
    """Write overview.csv and metrics/, recall and costs of each method, from the aggregated results."""
    write_overview(layout_of(paths))


@app.command(rich_help_panel=PANEL)
def count(settings: SettingsJson, paths: PathsOption = DEFAULT_PATHS) -> None:
    """Count every method's parameters at paper scale, without weights."""
    content = _object(settings)
    methods, encoders = _field("methods", content["methods"]), _field("encoders", content["encoders"])
    count_parameters(methods, encoders, content["width"], content["scalars"], layout_of(paths))


@app.command(rich_help_panel=PANEL)
def table(name: str, paths: PathsOption = DEFAULT_PATHS) -> None:
    """Render one table as CSV, Markdown and LaTeX."""
    write_table(name, layout_of(paths))


@app.command(rich_help_panel=PANEL)
def plot(name: str, paths: PathsOption = DEFAULT_PATHS) -> None:
    """Render one plot as PNG and SVG."""
    write_plot(name, layout_of(paths))


@app.command(rich_help_panel=PANEL)
def summary(paths: PathsOption = DEFAULT_PATHS) -> None:
    """Describe the aggregated results in words: summary.md."""
    write_summary(layout_of(paths))


@app.command(rich_help_panel=PANEL)
def page(markdown: Path, out: Path) -> None:
    """Render a Markdown file as an HTML page of the report."""
    write_page(markdown, out)


@app.command(rich_help_panel=PANEL)
def settings_page(out: Path, settings: SettingsJson) -> None:
    """Render the settings in force, including overlays, as an HTML page of the report."""
    write_settings_page(_object(settings), out)


@app.command(rich_help_panel=PANEL)
def sweep(cell_files: list[Path], out: Annotated[Path, typer.Option(help="Output path, no suffix.")]) -> None:
    """Write the table of a learning-rate sweep as CSV and Markdown."""
    write_sweep(cell_files, out)


def _object(settings: str) -> dict[str, Any]:
    """The option --settings. Raises ValueError if it is no JSON object."""
    try:
        return json_object(settings)
    except ValueError as error:
        raise ValueError(f"--settings: {error}") from None


def _field(name: str, content: Any) -> Any:
    """Validate content as one field of the settings."""
    annotation: Any = Settings.model_fields[name].annotation
    return TypeAdapter(annotation).validate_python(content)

"""The command line: commands for users here, commands for the workflow in `stages`."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from crossmodal_peft.cli import cluster, stages
from crossmodal_peft.cli.arguments import (
    DEFAULT_PATHS,
    CellName,
    CellNames,
    Ks,
    Out,
    PathsOption,
    Split,
    ks_of,
)
from crossmodal_peft.cli.check_plugin import check_plugin
from crossmodal_peft.cli.errors import EXIT_CODES, OneLineErrors
from crossmodal_peft.config.location import find_cell, paths_of
from crossmodal_peft.files import write_json
from crossmodal_peft.stages.check_data import check_data
from crossmodal_peft.stages.score import score_split

app = typer.Typer(cls=OneLineErrors, no_args_is_help=True, pretty_exceptions_enable=False, epilog=EXIT_CODES)


def main() -> None:
    """Entry point of the console command, which prints UTF-8 whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    app()


@app.callback()
def options(debug: Annotated[bool, typer.Option(help="Show the traceback of a failure.")] = False) -> None:
    """Which parameter-efficient fine-tuning method should adapt my encoders to cross-modal retrieval?

    The experiments are a Snakemake workflow: `snakemake` trains and evaluates what params.yaml says. These
    commands inspect what it trained. A cell is dataset/method/seed, such as stamps-image/lora/0.
    """


@app.command()
def evaluate(
    cell: CellName,
    split: Split = "test",
    ks: Ks = "1,5,10",
    out: Out = None,
    paths: PathsOption = DEFAULT_PATHS,
) -> None:
    """Print a trained cell's metrics on any split, with intervals, sizes and caveats.

    crossmodal-peft evaluate stamps-image/lora/0 --split validation
    """
    name, layout = find_cell(cell, paths)
    _show(score_split(name, split, ks_of(ks), layout), out)


@app.command()
def compare(
    cells: CellNames,
    split: Split = "test",
    ks: Ks = "1,5,10",
    out: Out = None,
    paths: PathsOption = DEFAULT_PATHS,
) -> None:
    """Compare trained cells of one dataset with the first one: intervals and paired differences.

    crossmodal-peft compare stamps-speech/frozen/0 stamps-speech/lora/0 stamps-speech/full/0
    """
    from crossmodal_peft.retrieval.compare import COMPARED, compare_cells

    found = {cell: find_cell(cell, paths) for cell in cells}
    table = compare_cells(
        {cell: score_split(name, split, ks_of(ks), layout) for cell, (name, layout) in found.items()}
    )
    print(f"{table.to_markdown(index=False, floatfmt='.3f')}\n\n{COMPARED}")
    if out:
        table.to_csv(out, index=False)


@app.command()
def search(
    cell: CellName,
    text: Annotated[str | None, typer.Option(help="Text to search with.")] = None,
    image: Annotated[Path | None, typer.Option(help="Image file to search with.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Audio file to search with.")] = None,
    to: Annotated[str | None, typer.Option(help="What to find: text, image or audio.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items to find.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Search this folder, which `index` has indexed.")
    ] = None,
    paths: PathsOption = DEFAULT_PATHS,
) -> None:
    """Search a trained cell's items with a text, image or audio clip; indexes the test split if needed.

    An exported model searches the folder that `index` has indexed with it.

    crossmodal-peft search stamps-image/lora/0 --text "a red flower" -k 5
    """
    from crossmodal_peft.search.query import search_for
    from crossmodal_peft.search.subject import open_subject

    modality, query = _one_of("--text, --image, --audio", text=text, image=image, audio=audio)
    subject = open_subject(cell, folder, paths)
    found = search_for(subject.index, subject.model(), modality, query, to, k)
    shown = found[["rank", "score", "item", "caption"]]
    if as_json:
        files: Any = [subject.file(row) for row in found.itertuples()]
        print(shown.assign(file=files).to_json(orient="records", indent=2, force_ascii=False))
    else:
        print(shown.to_markdown(index=False, floatfmt=".3f"))


@app.command()
def index(
    cell: CellName,
    split: Annotated[str, typer.Option(help="test, validation, train, or all.")] = "test",
    folder: Annotated[
        Path | None, typer.Option(help="Index the pictures and sounds of this folder instead.")
    ] = None,
    paths: PathsOption = DEFAULT_PATHS,
) -> None:
    """Build the search index of a trained cell's items, or of a folder of yours; then only of its new files.

    crossmodal-peft index stamps-image/lora/0 --split all

    crossmodal-peft index model/ --folder photos/
    """
    from crossmodal_peft.search import index as search_index
    from crossmodal_peft.search.subject import index_folder

    if split not in (*search_index.SPLITS, "all"):
        raise typer.BadParameter(
            f"{split!r} is not one of: {', '.join(search_index.SPLITS)}, all", param_hint="--split"
        )
    if folder:
        built = index_folder(cell, folder, paths)
    else:
        built = search_index.build_index(*find_cell(cell, paths), split)
    sizes = ", ".join(f"{len(items)} {modality}" for modality, items in built.items.items())
    print(f"{built.cell}, {folder or built.split}: {sizes}")


@app.command()
def demo(
    model: Annotated[
        str | None, typer.Argument(help="An exported folder or a cell, to search a folder of yours with.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="The folder, indexed with the model; by default the only one.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 8501,
    paths: PathsOption = DEFAULT_PATHS,
) -> None:
    """Search with the trained cells in a browser: type, upload or record; two methods side by side.

    With a model, search the files of a folder of yours that `index` has indexed with it.

    crossmodal-peft demo --port 8600
    """
    from crossmodal_peft.search import demo as browser

    if model is None:
        browser.serve(port, paths_of(paths))
    else:
        browser.serve_files(port, model, folder, paths)


@app.command()
def report(
    configfile: Annotated[
        Path | None, typer.Option(help="An overlay on params.yaml, as for snakemake.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("results/report.html"),
) -> None:
    """Write all results as one HTML page that opens offline, through the workflow.

    crossmodal-peft report --out results/report.html
    """
    overlay = ["--configfile", str(configfile)] if configfile else []
    for options in ([], ["--report", str(out)]):
        done = subprocess.run(["snakemake", "report_pages", *options, *overlay])
        if done.returncode:
            raise ValueError(f"snakemake ended with exit code {done.returncode}; see its messages above")


@app.command()
def schema(
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("params.schema.json"),
) -> None:
    """Write the JSON schema of params.yaml, by which editors complete and check it.

    crossmodal-peft schema --out params.schema.json
    """
    from crossmodal_peft.config.settings import Settings

    write_json(out, Settings.model_json_schema())


@app.command()
def score(
    queries: Annotated[Path, typer.Option(help="Embeddings of the queries: .npy, (queries, width).")],
    gallery: Annotated[Path, typer.Option(help="Embeddings of the gallery: .npy, (items, width).")],
    relevance: Annotated[
        Path,
        typer.Option(help="Table with the columns query and item (row numbers or ids) and perhaps grade."),
    ],
    query_ids: Annotated[Path | None, typer.Option(help="Ids of the queries, one per line.")] = None,
    gallery_ids: Annotated[Path | None, typer.Option(help="Ids of the gallery, one per line.")] = None,
    ks: Ks = "1,5,10",
    out: Out = None,
) -> None:
    """Score precomputed embeddings (normalise them first for cosine similarity).

    crossmodal-peft score --queries q.npy --gallery g.npy --relevance relevant.csv
    """
    from crossmodal_peft.retrieval.evaluate import evaluate_direction
    from crossmodal_peft.retrieval.precomputed import read_relevance, read_sides

    ours, theirs = read_sides(queries, gallery, query_ids, gallery_ids)
    pairs = read_relevance(relevance, ours, theirs)
    _show({"queries->gallery": evaluate_direction(ours, theirs, pairs, ks_of(ks))}, out)


@app.command("check-data")
def check_table(
    table: Annotated[Path, typer.Argument(help="The table: .csv, .parquet or .jsonl.")],
    decode: Annotated[
        int | None, typer.Option(min=0, help="Decode the files of so many items only; by default of all.")
    ] = None,
) -> None:
    """Show what would be read from a table of your own: splits, what is shared, refusals, sizes, examples.

    crossmodal-peft check-data birds/birds.csv
    """
    check_data(table, decode)


@app.command()
def export(
    cell: CellName,
    out: Annotated[Path, typer.Argument(help="The folder to write; it must not exist.")],
    form: Annotated[
        str, typer.Option("--format", help="crossmodal, peft, transformers, sentence-transformers, onnx.")
    ] = "crossmodal",
    paths: PathsOption = DEFAULT_PATHS,
) -> None:
    """Write a trained cell as a self-contained folder, which `crossmodal_peft.load` opens anywhere.

    What it computes from raw files of the test split is compared with the cell's embeddings first.

    crossmodal-peft export stamps-image/lora/0 model/
    """
    from crossmodal_peft.stages.export import export_cell

    differences = export_cell(*find_cell(cell, paths), out, form)
    shown = ", ".join(f"{modality} {value:.1g}" for modality, value in differences.items())
    print(f"{out}: written; largest differences from the cell's embeddings: {shown}")


@app.command()
def embed(
    model: Annotated[Path, typer.Argument(help="An exported folder, or that of a trained cell.")],
    out: Annotated[Path, typer.Option(help="The .npy file to write; the ids stand beside it.")],
    images: Annotated[Path | None, typer.Option(help="Folder of pictures.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder of sounds.")] = None,
    texts: Annotated[Path | None, typer.Option(help="File with a text on each line.")] = None,
) -> None:
    """Embed the pictures or sounds of a folder, or the lines of a file; an interrupted call continues.

    crossmodal-peft embed model/ --images photos/ --out photos.npy
    """
    from crossmodal_peft.stages.embed import embed_files

    modality, source = _one_of("--images, --audio, --texts", image=images, audio=audio, text=texts)
    if out.suffix != ".npy":
        raise typer.BadParameter(f"{out}: must end with .npy", param_hint="--out")
    print(embed_files(model, modality, source, out))


app.command()(check_plugin)
app.add_typer(cluster.app, name="cluster")
app.add_typer(stages.app)


def _one_of(options: str, **given: Any) -> tuple[str, Any]:
    """The modality and value of the one option that was given. Raises typer.BadParameter unless it is one."""
    found = [(modality, value) for modality, value in given.items() if value is not None]
    if len(found) != 1:
        raise typer.BadParameter("give exactly one of the three", param_hint=options)
    return found[0]


def _show(directions: dict[str, Any], out: Path | None) -> None:
    """Print the table of an evaluation, and write it to `out` if given."""
    from crossmodal_peft.files import atomic_write
    from crossmodal_peft.report.evaluation_table import readable, summary_table

    print(readable(directions))
    if out:
        with atomic_write(out) as path:
            summary_table(directions).to_csv(path, index=False)

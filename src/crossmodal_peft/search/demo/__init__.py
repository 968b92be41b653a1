"""The Streamlit demo: `app` is the script; a module for each page; `catalogue` and `queries` are shared."""

from pathlib import Path

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Paths
from crossmodal_peft.data import uploads

OPTIONS = {
    "server.address": "127.0.0.1",  # This machine only.
    "server.headless": "true",
    "server.maxUploadSize": str(uploads.MAX_BYTES // 2**20),  # MiB
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",  # Tracebacks go to the terminal only.
    "client.toolbarMode": "minimal",
}


def serve(port: int, paths: Paths) -> None:
    """Serve the demo of all cells on 127.0.0.1 until it is stopped.

    Raises ValueError if a dataset's first cell cannot be opened.
    """
    prepare(Layout.of(paths))
    _run(port, paths.model_dump_json())


def serve_files(port: int, model: str, folder: Path | None, paths: str) -> None:
    """Serve a search in the files of a folder that was indexed with a trained model.

    Raises ValueError if the model cannot be opened, or the folder is not indexed.
    """
    import crossmodal_peft.search.demo.own_files  # noqa: F401
    from crossmodal_peft.search.subject import open_subject

    open_subject(model, folder, paths)
    _run(port, paths, model, str(folder or ""))


def _run(port: int, *arguments: str) -> None:
    from streamlit.web import cli

    options = [f"--{name}={value}" for name, value in (OPTIONS | {"server.port": str(port)}).items()]
    script = str(Path(__file__).with_name("app.py"))
    cli.main(["run", script, *options, "--", *arguments])


def prepare(layout: Layout) -> None:
    """Import what pages and queries need before anyone waits: seconds, mostly for transformers."""
    import crossmodal_peft.search.demo.hardest  # noqa: F401
    import crossmodal_peft.search.demo.results  # noqa: F401
    import crossmodal_peft.search.demo.searching  # noqa: F401
    from crossmodal_peft.inference.opening import open_cell

    cells = {name.split("/")[0]: name for name in reversed(layout.trained_cells())}
    for name in cells.values():  # One per dataset covers all encoder families.
        open_cell(name, layout)

"""The Streamlit demo: `app` is the script; a module for each page; `catalogue` and `queries` serve them."""

from pathlib import Path

from crossmodal_peft import untrusted
from crossmodal_peft.settings import Paths

OPTIONS = {
    "server.address": "127.0.0.1",  # This machine only.
    "server.headless": "true",
    "server.maxUploadSize": str(untrusted.MAX_BYTES // 2**20),  # MiB
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",  # Traces go to the terminal.
    "client.toolbarMode": "minimal",
}


def serve(port: int, paths: Paths) -> None:
    """Serve the demo on 127.0.0.1 until it is stopped."""
    from streamlit.web import cli

    # What the first page needs is imported before somebody waits for it.
    import crossmodal_peft.demo.hardest
    import crossmodal_peft.demo.results
    import crossmodal_peft.demo.searching  # noqa: F401

    options = [f"--{name}={value}" for name, value in (OPTIONS | {"server.port": str(port)}).items()]
    script = str(Path(__file__).with_name("app.py"))
    cli.main(["run", script, *options, "--", paths.model_dump_json()])

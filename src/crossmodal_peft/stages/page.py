"""Pages of the report."""

from pathlib import Path


def write_page(markdown: Path, out: Path) -> None:
    """Render a Markdown file as an HTML page of the report."""
    from crossmodal_peft.report import html

    html.write(markdown.read_text(encoding="utf-8"), markdown.stem, out)

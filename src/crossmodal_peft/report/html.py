"""Markdown → a self-contained HTML page, for the report."""

from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from crossmodal_peft.files import atomic_write

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem;
  color: #222; }
table { border-collapse: collapse; margin: 0.8rem 0 1.6rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th { border-bottom: 2px solid #888; }
tbody tr:hover { background: #f4f6f8; }
code { background: #f0f0f0; padding: 0 0.2rem; }
"""


def page(markdown: str, title: str) -> str:
    """A complete HTML document; HTML in the Markdown is escaped."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}</body>\n</html>\n"
    )


def write(markdown: str, title: str, out: Path) -> None:
    """Write a page atomically."""
    with atomic_write(out) as path:
        path.write_text(page(markdown, title), encoding="utf-8")

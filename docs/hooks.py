"""What the site holds besides these pages: files of the repository, and the generated reference."""

from pathlib import Path
from typing import Any

import reference
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# In the site they have the same path as in the repository.
SHOWN = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "params.yaml",
    "benchmarks/*.*",
    "results/**/*.md",
    "results/**/*.png",
    "workflow/config/*.yaml",
    "workflow/profiles/*/config.yaml",
    "containers/*",
)


def on_files(files: Files, config: Any) -> Files:
    """Add the repository's files and the generated pages."""
    for path in [path for pattern in SHOWN for path in sorted(ROOT.glob(pattern))]:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    for name, text in reference.pages(ROOT).items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links between docs/ and the rest of the repository lead to the same file in the site."""
    depth = page.file.src_uri.count("/")
    return markdown.replace("](docs/", "](").replace(f"]({'../' * (depth + 1)}", f"]({'../' * depth}")

"""From what a user types, a cell's name or its folder, to the cell and the files of its project."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from crossmodal_peft.config.cell_file import CELL_FILE, read_cell_file
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.reading import read
from crossmodal_peft.config.settings import Paths
from crossmodal_peft.config.validation import check_paths

DEFAULT_PATHS = "params.yaml"


def project_of(folder: Path) -> Path:
    """The nearest folder with a params.yaml, from `folder` upwards; `folder` itself if there is none."""
    folder = folder.absolute()
    return next((above for above in (folder, *folder.parents) if (above / DEFAULT_PATHS).is_file()), folder)


def paths_of(paths: str, project: Path | None = None) -> Paths:
    """Paths from JSON, or from the `paths` of a file on top of those of params.yaml (if it exists).

    The file is looked for in the working folder, then in the project's (None: that of the working folder).
    """
    if paths.startswith("{"):
        return Paths.model_validate_json(paths)
    project = project or project_of(Path.cwd())
    own = project / DEFAULT_PATHS
    files = [own] if own.exists() else []
    if paths != DEFAULT_PATHS:
        files.append(Path(paths) if Path(paths).exists() else project / paths)
    found: dict[str, Any] = {}
    for file in files:
        content = read(file)
        block = content.get("paths", {}) if isinstance(content, dict) else {}
        found |= block if isinstance(block, dict) else check_paths(block, str(file)).model_dump()
    return check_paths(found, paths)


def layout_of(paths: str, project: Path | None = None) -> Layout:
    """The file layout of a project, as `paths_of`.

    None: that of the working folder; but paths given as JSON, as the workflow does, are relative to the
    working folder itself.
    """
    if project is None:
        project = Path.cwd() if paths.startswith("{") else project_of(Path.cwd())
    layout = Layout.of(paths_of(paths, project))
    return layout if project == Path.cwd() else layout.under(project)


def find_cell(given: str, paths: str = DEFAULT_PATHS) -> tuple[str, Layout]:
    """A cell's name and the layout of its project, from the name or from the folder of its checkpoint.

    A folder belongs to the project that it is in, whatever the working folder; a name, and a folder that is
    in no project, to that of the working folder. Raises ValueError if its `cell.json` cannot be read.
    """
    folder = Path(given).absolute()
    if not (folder / CELL_FILE).is_file():
        return given, layout_of(paths)
    own = project_of(folder)
    layout = layout_of(paths, own if (own / DEFAULT_PATHS).is_file() else None)
    name = read_cell_file(folder).cell.name
    if folder.parts[-3:] == tuple(name.split("/")):
        return name, replace(layout, checkpoints=folder.parents[2])
    return str(folder), layout  # A copy under another name: as a path it leads to itself.

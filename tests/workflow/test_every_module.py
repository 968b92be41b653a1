"""Claims about every module of the package: an edit reruns the jobs that it can affect, and no others."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest
from conftest import REPOSITORY
from module_jobs import FILE, changed, hashes, jobs, lines

from crossmodal_peft.config import plugins
from workflow.planning.code_dependencies import EXCLUDED, PACKAGE, ROOT, Package, closure, is_excluded

PARTS = [name for name, arguments in jobs().items() if any(":" in argument for argument in arguments)]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """The imports of the package, as read by another library."""
    return grimp.build_graph(PACKAGE, cache_dir=None)


def imported(graph: grimp.ImportGraph, job: str) -> set[str]:
    """The modules that a kind of job imports according to the graph, and the packages that contain them."""
    stage, *variants = [argument.partition(":")[0] for argument in jobs()[job]]
    folders = {kind: folder.replace("/", ".") for kind, folder in plugins.FOLDERS.items()}
    named = [variant.split("/") for variant in variants]
    waiting = [f"{PACKAGE}.stages.{stage}", *[f"{PACKAGE}.{folders[kind]}.{name}" for kind, name in named]]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name and name not in found:
            waiting.append(name.rpartition(".")[0])
            if not is_excluded(name):
                found.add(name)
                waiting += graph.find_modules_directly_imported_by(name)
    return found


def test_an_edit_of_any_module_runs_again_the_jobs_that_import_it(graph):
    package = Package(ROOT)
    before = hashes(package)
    expected = {job: imported(graph, job) for job in jobs()}
    for name in package.paths:
        found = changed(package, name, before)
        wanted = {job for job, modules in expected.items() if name in modules}
        # If a job needs only part of a module, the rest of the module may import more.
        assert found <= wanted, name
        assert wanted - found <= set(PARTS), name


def test_every_module_is_written_down_with_its_jobs():
    written = FILE.read_text(encoding="utf-8").splitlines()
    assert written == lines(), "read the difference; if it is meant: python tests/module_jobs.py"


def test_of_what_is_left_out_everything_is_there_with_a_reason():
    modules = Package(ROOT).paths
    assert [name for name in EXCLUDED if f"{PACKAGE}.{name}" not in modules] == []
    assert all(len(reason.split()) > 3 for reason in EXCLUDED.values())


def test_nothing_that_a_job_reaches_loads_modules_by_name_but_through_the_plugins():
    package = Package(ROOT)
    loaders = ("import_module", "__import__", "spec_from_file_location", "exec_module", "run_module")
    loading = {name for name in package.paths if any(loader in package.text(name) for loader in loaders)}
    reached = {name for arguments in jobs().values() for name in closure(package, *arguments)}
    assert f"{PACKAGE}.config.plugins" in loading
    assert loading & reached == set()


TRACED = """
import sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
import tiny_cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Logging
from crossmodal_peft.stages.evaluate import record_cell
from crossmodal_peft.stages.train import train_cell
layout, ran = Layout.of(tiny_cell.paths_in(Path({folder!r}))), set()
cell = tiny_cell.make_cell({method!r}, epochs=1, activation_cache="off")
def note(frame, event, argument):
    if event == "call" and frame.f_code.co_name != "<module>":
        ran.add(frame.f_code.co_filename)
def traced(stage, *arguments):
    ran.clear()
    sys.setprofile(note)
    stage(*arguments)
    sys.setprofile(None)
    print("ran", stage.__name__, *ran)
traced(train_cell, cell, layout, Logging())
traced(record_cell, cell.name, [1, 5, 10], layout)
"""


def run_by_stages(folder: Path, method: str) -> Iterator[tuple[str, set[str]]]:
    """The modules in which something ran while a tiny cell was trained and evaluated, by stage."""
    script = TRACED.format(tests=str(REPOSITORY / "tests"), folder=str(folder), method=method)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = {str(path): name for name, path in Package(ROOT).paths.items()}
    for line in done.stdout.splitlines():
        if line.startswith("ran "):
            _, stage, *files = line.split()
            yield stage, {modules[file] for file in files if file in modules}


@pytest.mark.parametrize("method", ["prefix", "lora"])
def test_what_runs_in_a_stage_is_in_its_code_or_left_out_with_a_reason(method, inputs):
    kind = {"lora": "peft_library"}.get(method, method)
    package = Package(ROOT)
    expected = {
        "train_cell": closure(
            package, "train", f"methods/{kind}", "losses/infonce", "encoders/bert", "encoders/dinov2"
        ),
        "record_cell": closure(package, "evaluate", f"methods/{kind}:Settings"),
    }
    ran = dict(run_by_stages(inputs, method))
    assert len(ran["train_cell"]) > 20 and len(ran["record_cell"]) > 5
    for stage, modules in ran.items():
        known = {name.partition(":")[0] for name in expected[stage]}
        unexpected = {name for name in modules - known if not is_excluded(name)}
        assert unexpected == set(), stage

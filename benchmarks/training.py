"""Training compared with other tools, with a bare loop and at growing sizes; writes the README's tables.

Usage: python benchmarks/training.py [--peers-python PATH] [--rounds 2] [--cores 0 1] [--only PART …]
[--prepare]

Every tool trains in its own process with one thread. All are pinned to the first of two cores; meanwhile the
bare loop and the sizes are measured on the second, since two cells train side by side in the default matrix.
The processes of a table take turns of an epoch each, so that other load affects all of them alike; the first
epoch of each is dropped, and the median of the others counts. See README.md here for the peers' environment.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import training_data
from report import describe_machine, markdown, write_section

from crossmodal_peft.config.cell import cell as cell_of

HERE = Path(__file__).parent
OURS = "crossmodal-peft"
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}


@dataclass(frozen=True)
class Run:
    """One row: a tool on a job, either `like_for_like` with the others or as its documentation shows it."""

    label: str
    tool: str
    cell: str = "full"  # ours: full, lora or frozen as params.yaml has it, or lora-everywhere
    like_for_like: bool = True
    lora: bool = False


PARTS = {
    "full": [
        Run("crossmodal-peft", OURS),
        Run("VisionTextDualEncoder + Trainer (run_clip.py)", "run_clip"),
        Run("the same Trainer on tensors in memory", "trainer"),
        Run("sentence-transformers", "sentence-transformers"),
        Run("open_clip", "open_clip"),
    ],
    "lora": [
        Run("crossmodal-peft, all layers", OURS, "lora-everywhere"),
        Run("VisionTextDualEncoder + Trainer + peft", "run_clip", lora=True),
        Run("the same Trainer on tensors in memory", "trainer", lora=True),
        Run("sentence-transformers + peft", "sentence-transformers", lora=True),
        Run("crossmodal-peft, last four layers (default)", OURS, "lora", False),
        Run("crossmodal-peft, frozen (default)", OURS, "frozen", False),
    ],
    "documented": [
        Run("crossmodal-peft, full (default)", OURS, "full", False),
        Run(
            "VisionTextDualEncoder + Trainer (run_clip.py)",
            "run_clip",
            like_for_like=False,
        ),
        Run("sentence-transformers", "sentence-transformers", like_for_like=False),
        Run("open_clip", "open_clip", like_for_like=False),
    ],
}
OWN_PARTS = ("floor", "size")  # training_floor.py
TITLES = {
    "full": "Full fine-tuning, like for like",
    "lora": "LoRA (rank 8, query and value), like for like in all layers; and this project's defaults",
    "documented": "Full fine-tuning, each tool as its documentation shows it",
}


class Worker:
    """A tool's process, waiting for commands to train."""

    def __init__(self, run: Run, job: dict, python: str, core: int):
        self.run, self.answers = run, []
        name = f"{run.tool}-{run.cell}-{run.like_for_like}-{run.lora}".replace(" ", "_")
        path = Path(job["folder"]) / f"{name}.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        self.messages = path.with_suffix(".log")
        command = ["taskset", "-c", str(core), python, str(HERE / "training_worker.py"), run.tool, str(path)]
        environment = os.environ | THREADS | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        with open(self.messages, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env=environment,
            )

    def ask(self, command: str) -> dict | None:
        """The answer to a command; None if the process has ended."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(f"{command}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        return json.loads(line) if line else None

    def failure(self) -> str:
        """The last line of the process's log."""
        return (self.messages.read_text(encoding="utf-8").strip().splitlines() or ["no message"])[-1][:100]


def job_of(run: Run, common: dict, settings) -> dict:
    """The job description that a worker reads."""
    alike = training_data.like_for_like(settings) if run.like_for_like else settings
    cell = cell_of(alike, training_data.DATASET, run.cell.removesuffix("-everywhere"), 0)
    if run.cell.endswith("everywhere"):
        cell = training_data.everywhere(cell)
    train = cell.train.model_copy(
        update={"precision": common["precision"], "attn_implementation": common["kernel"]}
    )
    return common | {
        "cell": cell.model_copy(update={"train": train}).model_dump(mode="json"),
        "like_for_like": run.like_for_like,
        "lora": training_data.LORA if run.lora else None,
    }


def resolve(arguments: argparse.Namespace) -> dict[str, str]:
    """Precision and attention implementation, as this project chooses them for the machine."""
    import torch

    from crossmodal_peft.training import hardware

    torch.set_num_threads(1)
    device = torch.device("cpu")
    precision = hardware.resolve_precision(arguments.precision, device)
    kernel = hardware.resolve_kernel(arguments.kernel, device, precision)
    return {"precision": "bf16" if precision == torch.bfloat16 else "fp32", "kernel": kernel}


def measure(part: str, common: dict, settings, arguments: argparse.Namespace) -> list[dict]:
    """Measure the runs of a part in turns; returns one row for each."""
    runs = [run for run in PARTS[part] if run.tool == OURS or arguments.peers_python]
    workers = []
    for run in runs:
        python = sys.executable if run.tool == OURS else arguments.peers_python
        workers.append(Worker(run, job_of(run, common, settings), python, arguments.cores[0]))
    found = {worker.run.label: {"tool": worker.run.label, "epoch": [], "bare": []} for worker in workers}
    for worker in workers:
        if (answer := worker.ask("bare")) is None:
            found[worker.run.label]["failed"] = worker.failure()
        else:
            found[worker.run.label]["loss"] = answer["loss"]
    for turn in range(arguments.rounds + 1):
        for worker in workers:
            row = found[worker.run.label]
            for command in ("epoch", "bare") if turn % 2 else ("epoch",):
                answer = None if "failed" in row else worker.ask(command)
                if answer is None:
                    row["failed"] = worker.failure()
                elif turn > 0:
                    row[command].append(answer["items"] / answer["seconds"])
            print(f"{part}, turn {turn}: {row}", flush=True)
    for worker in workers:
        found[worker.run.label] |= worker.ask("stop") or {}
        worker.process.wait()
    return list(found.values())


def table(rows: list[dict]) -> str:
    """Markdown table; the first row is this project's, with which the others are compared."""
    ours = statistics.median(rows[0]["epoch"] or [float("nan")])
    lines = []
    for row in rows:
        if "failed" in row:
            lines.append([row["tool"], f"failed: {row['failed']}", "", "", "", "", ""])
            continue
        speed, bare = statistics.median(row["epoch"]), statistics.median(row["bare"])
        low, high = min(row["epoch"]), max(row["epoch"])
        lines.append(
            [
                row["tool"],
                f"{speed:.1f}",
                f"{low:.1f}–{high:.1f}",
                f"{100 * speed / bare:.0f} %",
                f"{ours / speed:.3g}",
                f"{row['peak_mb']:.0f}",
                f"{row['loss']:.4f}",
            ]
        )
    head = [
        "tool",
        "samples/s",
        "range",
        "of its bare forward+backward",
        "first row / this",
        "peak MB",
        "loss at start",
    ]
    return markdown(head, lines)


def main() -> None:
    """Measure the parts and write their tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", help="Python interpreter of the environment with the other tools")
    parser.add_argument("--rounds", type=int, default=2, help="epochs of each tool that count")
    parser.add_argument("--steps", type=int, default=3, help="of an epoch; short epochs interleave well")
    parser.add_argument("--cores", type=int, nargs=2, default=[0, 1], help="cores to pin the processes to")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, *OWN_PARTS], default=[*PARTS, *OWN_PARTS])
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32"], default="auto")
    parser.add_argument("--kernel", choices=["auto", "eager", "sdpa"], default="auto")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--folder", type=Path, default=Path("data/benchmarks"))
    parser.add_argument("--prepare", action="store_true", help="only prepare the data, which needs no quiet")
    arguments = parser.parse_args()
    settings = training_data.settings_at(arguments.params)
    common = training_data.prepare_job(settings, arguments.folder, arguments.steps)
    common |= resolve(arguments)
    conditions = (
        f"{describe_machine()}; one pinned core, one thread a process; batch {training_data.BATCH}, "
        f"{common['precision']}, {common['kernel']} attention, "
        f"epochs of {arguments.steps} steps, {arguments.rounds} of them."
    )
    import training_floor

    if arguments.prepare:
        training_floor.prepare(settings, arguments.folder)
        return
    own = [part for part in OWN_PARTS if part in arguments.only]
    beside = start_own(own, arguments) if own else None
    for part in (part for part in PARTS if part in arguments.only):
        rows = measure(part, common, settings, arguments)
        write_section(f"training {part}", f"**{TITLES[part]}.** {conditions}\n\n{table(rows)}")
    if beside and beside.wait():
        raise SystemExit(f"training_floor.py failed with exit status {beside.returncode}")


def start_own(parts: list[str], arguments: argparse.Namespace) -> subprocess.Popen:
    """Start the measurements of this project against itself on the second core."""
    script = ["taskset", "-c", str(arguments.cores[1]), sys.executable, str(HERE / "training_floor.py")]
    options = ["--folder", arguments.folder, "--params", arguments.params, "--rounds", arguments.rounds]
    return subprocess.Popen([*script, *parts, *map(str, options)], env=os.environ | THREADS)


if __name__ == "__main__":
    main()

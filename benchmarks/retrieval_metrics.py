"""Retrieval metrics compared with other tools on one pinned core; writes retrieval_metrics.md.

Usage: python benchmarks/retrieval_metrics.py [--peers-python PATH] [--rounds 3] [--core 1] [--cases TEXT …]

The other tools need their own environment, so that they do not constrain the project's:

    uv venv --python 3.11 /somewhere/peers
    uv pip install --python /somewhere/peers/bin/python torch==2.11.0 pytrec-eval-terrier ranx faiss-cpu \
        sentence-transformers torchmetrics clip-benchmark

Without --peers-python only the bare product and this project are measured. Rounds interleave the tools, so
that other load affects all of them alike; the best round counts. Measured cases replace their sections of the
file, so that it can be updated piecemeal.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
DIMENSION = 256
OURS = ("product", "crossmodal-peft", "crossmodal-peft nearest 10")
PEERS = (
    "faiss 100 + NumPy",
    "pytrec_eval 100",
    "ranx 100",
    "sentence-transformers",
    "CLIP_benchmark",
    "torchmetrics",
)
# A tool that takes this long is measured in the first round only.
ONCE_SECONDS = 20
LARGEST = "100k x 100k (5 relevant)"


@dataclass(frozen=True)
class Case:
    """Queries and gallery items share labels: each label has `queries_per_label` and `items_per_label`.

    `noise` is the standard deviation of an embedding around the centre of its label, before normalising, in
    units of the centre's own; 0 makes all embeddings of the case equal.
    """

    name: str
    queries: int
    gallery: int
    queries_per_label: int
    items_per_label: int
    noise: float
    tools: tuple[str, ...]


SMALL_TOOLS = (*OURS, *PEERS)
LARGE_TOOLS = tuple(tool for tool in SMALL_TOOLS if tool != "torchmetrics")  # it needs more than 20 GiB there
CASES = (
    Case("200 x 175 (validation after an epoch)", 200, 175, 1, 1, 1.75, OURS),
    Case("5k captions x 1k items", 5000, 1000, 5, 1, 1.75, SMALL_TOOLS),
    Case("1k items x 5k captions (5 relevant)", 1000, 5000, 1, 5, 1.75, SMALL_TOOLS),
    Case("20k x 20k (5 relevant)", 20000, 20000, 5, 5, 1.75, LARGE_TOOLS),
    Case("20k x 20k, well separated", 20000, 20000, 5, 5, 1.4, OURS),
    Case("20k x 20k, poorly separated", 20000, 20000, 5, 5, 2.1, OURS),
    Case("20k x 20k, untrained (scores at chance)", 20000, 20000, 5, 5, 1e6, OURS),
    Case("20k x 20k, collapsed (all scores tie)", 20000, 20000, 5, 5, 0.0, OURS),
    Case(LARGEST, 100_000, 100_000, 5, 5, 1.75, OURS[:2]),
)


def embeddings(case: Case, path: Path) -> None:
    """Write unit embeddings (float32) and integer labels of both sides."""
    rng = np.random.default_rng(0)
    labels = (
        np.arange(case.queries) // case.queries_per_label,
        np.arange(case.gallery) // case.items_per_label,
    )
    centres = rng.standard_normal((max(side.max() for side in labels) + 1, DIMENSION), dtype=np.float32)
    if case.noise == 0:
        centres[:] = centres[0]
    sides = []
    for side in labels:
        values = centres[side] + case.noise * rng.standard_normal((len(side), DIMENSION), dtype=np.float32)
        sides.append(
            values.astype(np.float32) / np.linalg.norm(values, axis=1, keepdims=True).astype(np.float32)
        )
    np.savez(path, queries=sides[0], gallery=sides[1], query_labels=labels[0], gallery_labels=labels[1])


def measure(tool: str, data: Path, python: str, core: int) -> dict:
    """Measurements from one fresh process, or {"failed": last line of its stderr}."""
    command = ["taskset", "-c", str(core), python, str(HERE / "retrieval_tools.py"), tool, str(data)]
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=os.environ | threads)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def run_case(case: Case, arguments: argparse.Namespace, folder: Path) -> list[dict]:
    """The best round of every tool, in the order of the case's tools."""
    data = folder / "data.npz"
    embeddings(case, data)
    best: dict[str, dict] = {}
    for _ in range(arguments.rounds):
        for tool in case.tools:
            python = sys.executable if tool in OURS else arguments.peers_python
            known = best.get(tool, {})
            if python is None or "failed" in known or known.get("seconds", 0) > ONCE_SECONDS:
                continue
            found = measure(tool, data, python, arguments.core)
            print(case.name, tool, {name: found[name] for name in found if name != "values"}, flush=True)
            if "failed" in found or found["seconds"] < known.get("seconds", np.inf):
                best[tool] = found
    return [{"tool": tool, **figures} for tool, figures in best.items()]


def table(case: Case, rows: list[dict]) -> str:
    """Markdown table of one case; `ratio` is relative to the bare product in the same run."""
    bare = next(row["seconds"] for row in rows if row["tool"] == "product")
    lines = [
        f"## {case.name}",
        "",
        "| tool | seconds | ratio | MB added | hit@10 | mAP@100 |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['tool']} | failed: {row['failed'][:80]} | | | | |")
            continue
        shown = [
            f"{row['values'][name]:.4f}" if name in row["values"] else "" for name in ("hit@10", "map@100")
        ]
        cells = [
            row["tool"],
            f"{row['seconds']:.3g}",
            f"{row['seconds'] / bare:.2f}",
            f"{row['added_mb']:.0f}",
            *shown,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def at_a_million(section: str) -> str:
    """Estimate for 1M x 1M from the table of the largest case, by the number of scores."""
    row = next(line for line in section.splitlines() if line.startswith("| crossmodal-peft |"))
    hours = float(row.split("|")[2]) * 100 / 3600
    return (
        f"## 1M x 1M, estimated\n\nOne core, 100 times the scores of {LARGEST}: {hours:.1f} hours. "
        "On a GPU it is measured: [retrieval_gpu.md](retrieval_gpu.md)."
    )


def processor() -> str:
    """The processor's model name on Linux, else the machine type."""
    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if Path("/proc/cpuinfo").exists()
        else []
    )
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Measure all cases and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", help="Python interpreter of the environment with the other tools")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=1, help="processor core to pin every process to")
    parser.add_argument("--cases", nargs="*", default=[""], help="only those whose name holds one of these")
    parser.add_argument("--output", type=Path, default=HERE / "retrieval_metrics.md")
    arguments = parser.parse_args()
    sections = {}
    if arguments.output.exists():
        kept = arguments.output.read_text(encoding="utf-8").strip().split("\n\n## ")[1:]
        sections = {text.split("\n")[0]: f"## {text}" for text in kept}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if any(text in case.name for text in arguments.cases):
                sections[case.name] = table(case, run_case(case, arguments, Path(folder)))
    introduction = (
        "# Retrieval metrics, side by side\n\n"
        f"Written by `retrieval_metrics.py` on one core of {processor()}, "
        f"best of {arguments.rounds} interleaved rounds (of what takes over {ONCE_SECONDS} s: one), "
        f"{DIMENSION} dimensions, float32. `product` is the bare blockwise float32 product; crossmodal-peft "
        "computes all its metrics at full depth, other tools what their description in `retrieval_tools.py` "
        "says. MB added is peak memory above the embeddings."
    )
    ordered = [sections[case.name] for case in CASES if case.name in sections]
    if LARGEST in sections:
        ordered.append(at_a_million(sections[LARGEST]))
    arguments.output.write_text("\n\n".join([introduction, *ordered]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

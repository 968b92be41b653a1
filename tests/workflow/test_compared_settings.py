"""Claims about settings: which changes of values, or of the schema, snakemake must notice."""

import json

import pytest
import yaml
from conftest import REPOSITORY
from pydantic import Field

from crossmodal_peft.config import plugins, schema
from crossmodal_peft.config.cell import cell
from crossmodal_peft.config.validation import load
from workflow.planning import compared_settings
from workflow.planning.compared_settings import compared, first_defaults, todays_defaults

CELL = ("stamps-image", "lora", 0)


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat settings declared in this file as shared, with only the first defaults given here."""
    monkeypatch.setattr(compared_settings, "SHARED", (*compared_settings.SHARED, __name__))
    memory = first_defaults() | {"Later.epochs": 3, "Later.parts": {}, "Parts.of": 1}
    monkeypatch.setattr(compared_settings, "first_defaults", lambda: memory)


class Parts(schema.Strict):
    of: int = 1


class Before(schema.Strict):
    rate: float
    epochs: int = 3


class Later(schema.Strict):
    rate: float
    epochs: int = 3
    parts: Parts = Parts()
    width: int | None = None
    names: list[str] = Field([])


def test_a_new_setting_with_a_default_changes_nothing():
    assert compared(Later(rate=0.1)) == compared(Before(rate=0.1)) == '{"rate": 0.1}'


@pytest.mark.parametrize(
    "change", [{"rate": 0.2}, {"epochs": 4}, {"parts": {"of": 2}}, {"width": 8}, {"names": ["a"]}]
)
def test_a_value_that_is_not_the_default_is_seen(change):
    assert compared(Later(**{"rate": 0.1} | change)) != compared(Later(rate=0.1))


def test_a_default_written_out_is_the_same_as_one_left_out():
    assert compared(Later(rate=0.1, epochs=3, parts={"of": 1}, width=None)) == compared(Later(rate=0.1))


def test_a_changed_default_is_seen_and_its_old_value_written_out_is_not():
    class Later(schema.Strict):
        rate: float
        epochs: int = 5

    assert json.loads(compared(Later(rate=0.1))) == {"rate": 0.1, "epochs": 5}
    assert compared(Later(rate=0.1, epochs=3)) == compared(Before(rate=0.1))


def test_a_changed_default_inside_of_a_default_is_seen():
    class Parts(schema.Strict):
        of: int = 2

    class Later(schema.Strict):
        rate: float
        parts: Parts = Parts()

    assert json.loads(compared(Later(rate=0.1))) == {"rate": 0.1, "parts": {"of": 2}}


def test_every_shared_setting_with_a_default_is_remembered():
    missing = todays_defaults().keys() - first_defaults().keys()
    assert missing == set(), "python -m workflow.planning.compared_settings remembers them"


def test_of_a_cell_everything_in_params_yaml_that_is_not_a_first_default_is_compared():
    config = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    found = json.loads(compared(cell(load(REPOSITORY / "params.yaml"), *CELL)))
    assert found["tuning"]["kind"] == "peft_library" and found["encoders"]["image"]["modality"] == "image"
    assert found["tuning"]["options"] == config["methods"]["lora"]["options"]
    first = {key.partition(".")[2]: value for key, value in first_defaults().items() if key[:6] == "Train."}
    expected = {key: value for key, value in config["train"].items() if first.get(key, ...) != value}
    assert found["train"] == expected | {"loss": {"kind": "infonce", "temperature": 0.07}}  # A variant's.


def test_settings_of_a_variant_are_compared_with_their_defaults():
    prefix = plugins.module("methods", "prefix").Settings(kind="prefix")
    assert json.loads(compared(prefix)) == {
        "kind": "prefix",
        "virtual_tokens": 16,
        "reparameterisation": None,
    }

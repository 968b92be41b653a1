"""Claims about the report: one page that has everything and opens without a network."""

from pathlib import Path

import pytest
import yaml
from browser import ARGUMENTS, CHROMIUM, PATIENCE, needs_browser
from conftest import run, smoke_layout
from playwright.sync_api import expect, sync_playwright


@pytest.fixture(scope="module")
def report(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the smoke run."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    command = f"crossmodal-peft report --configfile workflow/config/smoke.yaml --out {out}"
    printed = run(command, smoke, PYTHONPATH=str(smoke / "src"))
    assert "Rule: train" not in printed
    return out


def test_the_report_is_small_and_holds_tables_plots_summary_and_settings(report):
    text = report.read_text()
    assert report.stat().st_size < 10e6
    for part in ("recall_at_k", "significance", "provenance", "training_curves", "summary"):
        assert part in text
    assert "settings.html" in text
    assert "What quality a trainable parameter buys" in text  # A plot's caption: its module's first line.


@needs_browser
def test_the_report_opens_without_a_network(report):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(offline=True).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(report.as_uri())
        expect(page.get_by_role("heading", name="Which parameter-efficient")).to_be_visible(timeout=PATIENCE)
        page.get_by_text("Summary", exact=True).first.click()
        page.get_by_text("summary", exact=True).last.wait_for()
        assert errors == []
        browser.close()


def test_the_page_of_the_settings_shows_those_in_force(report, smoke):
    text = (smoke_layout(smoke).results / "pages" / "settings.html").read_text()
    overlay = yaml.safe_load((smoke / "workflow/config/smoke.yaml").read_text())
    assert f"limit: {overlay['datasets']['stamps-image']['limit']}" in text
    assert "lora_alpha: 16" in text  # From params.yaml.

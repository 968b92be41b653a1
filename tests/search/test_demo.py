"""Claims about the demo, in a real browser on the smoke cells: what users see, what bad files cause."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile

import pandas as pd
import pytest
from browser import ARGUMENTS, CHROMIUM, PATIENCE, needs_browser
from conftest import smoke_layout
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from crossmodal_peft.data import uploads
from crossmodal_peft.search.demo import catalogue
from crossmodal_peft.search.demo.searching import marks

STAMPS = "usr/share/tuxpaint/stamps"


@contextmanager
def served(folder: Path, paths: str) -> Iterator[str]:
    """The URL of a demo running in a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "crossmodal_peft.cli", "demo", "--port", str(port), "--paths", paths]
    with (
        TemporaryFile("w+", encoding="utf-8") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
        log.seek(0)
        text = log.read()
        assert "Traceback" not in text, text


def wait_for(address: str, process: subprocess.Popen, seconds: float = 120) -> None:
    """Return once a server responds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{address} does not respond")


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(smoke: Path) -> Iterator[str]:
    """The URL of a demo of the smoke cells."""
    with served(smoke, "workflow/config/smoke.yaml") as found:
        yield found


@pytest.fixture
def page(browser, address: str) -> Iterator[Page]:
    """The search page, fully loaded."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(address)
    expect(cards(page)).to_have_count(10)
    yield page
    assert page.get_by_text("Traceback").count() == 0
    page.close()


def cards(page: Page):
    """The headings of the results, with their scores."""
    return page.locator("[data-testid=stMarkdown] p").filter(has_text=" · ")


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def ask_by(page: Page, way: str) -> None:
    """Choose the kind of query: Text, Example, Picture or Sound."""
    page.get_by_role("radio", name=way, exact=True).click()


def upload(page: Page, name: str, content: bytes, kind: str) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})


@needs_browser
def test_a_typed_query_finds_ten_pictures(page):
    before = cards(page).all_inner_texts()
    page.get_by_test_id("stTextInputField").fill("a small bird on a branch")
    page.get_by_test_id("stTextInputField").press("Enter")
    expect(page.get_by_text("known only for queries from the dataset")).to_be_visible()
    expect(cards(page)).to_have_count(10)
    expect(page.get_by_test_id("stImage").locator("img")).to_have_count(10)
    assert cards(page).all_inner_texts() != before


@needs_browser
def test_a_caption_of_the_dataset_shows_what_is_relevant_to_it(page, smoke):
    queries = pd.read_parquet(smoke_layout(smoke).checkpoint("stamps-image/lora/0") / "queries.parquet")
    found = queries[(queries["direction"] == "text->image") & (queries["first_rank"] <= 10)].iloc[0]
    manifest = pd.read_parquet(smoke_layout(smoke).manifest("stamps-image"))
    caption = manifest[manifest["row"] >= 0].reset_index(drop=True)["source"][found["query"]]
    page.get_by_test_id("stTextInputField").fill(caption)
    page.get_by_test_id("stTextInputField").press("Enter")
    expect(page.get_by_text("relevant", exact=True).first).to_be_visible()
    expect(page.get_by_text("of the first 10 are relevant")).to_be_visible()


@needs_browser
def test_two_methods_are_shown_side_by_side_with_their_differences_marked(page):
    choose(page, "Compare with", "ridge")  # `lora` may still be the head that it started from.
    expect(cards(page)).to_have_count(20)
    expect(page.get_by_role("heading", name="lora")).to_be_visible()
    expect(page.get_by_role("heading", name="ridge")).to_be_visible()
    assert page.get_by_text("only here").count() > 0 or page.get_by_text("▲").count() > 0


@needs_browser
def test_an_uploaded_picture_finds_its_caption(page, smoke):
    manifest = pd.read_parquet(smoke_layout(smoke).manifest("stamps-image"))
    part = manifest[(manifest["split"] == "test") & manifest["source"].str.endswith(".png")]
    picture = smoke_layout(smoke).unpacked("stamps") / STAMPS / part["source"].iloc[0]
    ask_by(page, "Picture")
    upload(page, "stamp.png", picture.read_bytes(), "image/png")
    expect(cards(page)).to_have_count(10)
    expect(page.get_by_test_id("stImage").locator("img")).to_have_count(1)


def bomb() -> bytes:
    """A PNG of 200 megapixels in a few kilobytes."""
    out = BytesIO()
    Image.new("1", (20_000, 10_000)).save(out, "PNG")
    return out.getvalue()


@needs_browser
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"garbage" * 100, "The picture cannot be decoded: it is not an image in a known format"),
        (bomb, "The picture is too large; at most 50 megapixels are allowed."),
    ],
    ids=["garbage", "200 megapixels"],
)
def test_an_upload_that_is_not_a_harmless_picture_gets_a_message(page, content, message):
    ask_by(page, "Picture")
    upload(page, "picture.png", content(), "image/png")
    expect(page.get_by_text(message)).to_be_visible()
    expect(cards(page)).to_have_count(0)


@needs_browser
def test_an_uploaded_clip_is_played_and_finds_captions_and_clips_are_found_as_players(page, smoke):
    choose(page, "Dataset", "stamps-speech")
    expect(page.get_by_test_id("stAudio")).to_have_count(10)
    manifest = pd.read_parquet(smoke_layout(smoke).manifest("stamps-speech"))
    part = manifest[(manifest["split"] == "test") & (manifest["modality"] == "audio")]
    clip = smoke_layout(smoke).unpacked("stamps") / STAMPS / part["source"].iloc[0]
    ask_by(page, "Sound")
    upload(page, "clip.ogg", clip.read_bytes(), "audio/ogg")
    expect(cards(page)).to_have_count(10)
    player = page.get_by_test_id("stAudio")
    expect(player).to_have_count(1)
    page.wait_for_function("document.querySelector('audio').duration > 0")  # The browser could decode it.
    upload(page, "clip.ogg", b"garbage" * 100, "audio/ogg")
    expect(page.get_by_text("is not audio or video in a known format")).to_be_visible()


@needs_browser
def test_an_example_of_the_dataset_is_a_query(page):
    ask_by(page, "Example")
    expect(page.get_by_role("combobox", name="Item")).to_be_visible()
    expect(page.get_by_text("of the first 10 are relevant")).to_be_visible()
    expect(cards(page)).to_have_count(10)


@needs_browser
def test_the_results_page_draws_the_cells_and_the_tables(page):
    page.get_by_role("link", name="Results").click()
    expect(
        page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")
    ).to_have_count(2)
    expect(page.get_by_role("table").first).to_contain_text("lora")
    page.get_by_text("What the numbers say").first.click()
    expect(page.get_by_text("has the highest R@10").first).to_be_visible()


@needs_browser
def test_the_hardest_queries_are_shown_with_what_was_ranked_first_instead(page):
    page.get_by_role("link", name="Hardest queries").click()
    expect(page.get_by_text("mean rank", exact=True)).to_have_count(5)
    assert page.get_by_text("of the cells").count() == 5


@needs_browser
def test_without_trained_cells_the_page_says_how_to_train_them(browser, tmp_path):
    with served(tmp_path, "{}") as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.get_by_text("make smoke")).to_be_visible(timeout=PATIENCE)
        page.close()


def test_the_servers_limits_are_those_of_the_upload_checks():
    from crossmodal_peft.search.demo import OPTIONS

    assert int(OPTIONS["server.maxUploadSize"]) * 2**20 == uploads.MAX_BYTES
    assert OPTIONS["server.address"] == "127.0.0.1"
    assert OPTIONS["browser.gatherUsageStats"] == "false"


def test_the_badges_of_a_card_compare_it_with_the_other_methods_list():
    other = pd.DataFrame({"source": ["a", "b", "c"], "rank": [1, 2, 3]})
    card = pd.DataFrame({"source": ["c", "b", "x"], "rank": [1, 2, 3], "relevant": [True, False, None]})
    first, second, third = card.itertuples()
    assert marks(first, other) == " :green-badge[relevant] :gray-badge[▲ 2]"
    assert marks(second, other) == ""
    assert marks(third, other) == " :orange-badge[only here]"
    assert marks(first, None) == " :green-badge[relevant]"


def test_captions_are_shown_verbatim():
    assert catalogue.plain("*x* $y$ :red[z]") == r"\*x\* \$y\$ \:red\[z\]"

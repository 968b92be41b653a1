"""Latency of the demo in a headless Chromium: first paint and queries.

    python benchmarks/demo.py --port 8600      while this runs: crossmodal-peft demo --port 8600

Restart the demo for each measurement: only the first visitor's paint is slow.
"""

import argparse
import shutil
import time

from playwright.sync_api import Page, sync_playwright

QUERIES = ("a red flower", "a small bird on a branch", "an old steam locomotive", "the letter k", "a house")
SCORES = "[data-testid=stMarkdown] p:has-text(' · ')"


def results(page: Page) -> str:
    """The text of the results, once there are ten and the app has finished running."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=120_000)
    page.wait_for_function("document.querySelectorAll(`[data-testid=stMarkdown] p`).length >= 10")
    return "\n".join(page.locator(SCORES).all_inner_texts())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--screenshot", help="Also write a PNG of two methods side by side.")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        started = time.perf_counter()
        page.goto(f"http://127.0.0.1:{arguments.port}")
        page.get_by_role("heading", name="Search").wait_for()
        print(f"first heading      {time.perf_counter() - started:.2f} s")
        page.locator(SCORES).nth(9).wait_for()
        print(f"first ten results  {time.perf_counter() - started:.2f} s")
        field = page.get_by_test_id("stTextInputField")
        before = results(page)
        for query in QUERIES:
            started = time.perf_counter()
            field.fill(query)
            field.press("Enter")
            while (now := results(page)) == before:
                time.sleep(0.005)
            before = now
            print(f"{query:<26} {time.perf_counter() - started:.2f} s")
        if arguments.screenshot:
            draw(page, arguments.screenshot)
        browser.close()


def draw(page: Page, path: str) -> None:
    """Save a screenshot of two methods on a query of the dataset."""
    page.reload()
    page.locator(SCORES).nth(9).wait_for()
    page.get_by_role("combobox", name="Compare with").click()
    page.get_by_role("option", name="frozen", exact=True).click()
    page.locator(SCORES).nth(19).wait_for()
    results(page)
    page.wait_for_timeout(1000)  # Pictures fade in.
    page.screenshot(path=path)


if __name__ == "__main__":
    main()

"""A researcher's first day, clicked through in a real browser: from the portal to a plot of the approved data."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from playwright.sync_api import Error, Page, expect

from tests.cluster.browser import picture
from tests.cluster.site import PORTAL, Person, Room, at_work

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def run_all(page: Page) -> None:
    """A notebook whose kernel is not there yet runs nothing: then once more, as a person would."""
    began = "[...document.querySelectorAll('.jp-InputPrompt')].some(p => /\\[[*0-9]/.test(p.textContent))"
    for _ in range(3):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        with contextlib.suppress(Error):
            page.wait_for_function(began, timeout=15_000)
            return
    raise AssertionError("no cell runs")


def test_from_the_first_login_to_a_plot_of_the_approved_data(room: Room, ada: Person) -> None:
    with room.browser() as context:
        page = context.new_page()
        ada.sign_in(page, PORTAL)
        expect(page.locator(f"#project-{room.project}")).to_contain_text("A room for tests")
        assert page.locator("#project-demo").count() == 0, "another project is not hers to see"
        picture(page, "portal")
        page.get_by_role("link", name="Open the project").click()

        page.wait_for_url(re.compile(r"/hub/spawn"))
        expect(page.locator("#may")).to_have_text("What you may do")
        expect(page.locator("dl.facts")).to_contain_text(room.grant["cut"])
        picture(page, "start-page")
        started = time.monotonic()
        page.get_by_role("button", name="Open the workspace").click()
        progress = page.locator("#progress-message")
        seen: set[str] = set()
        while "/hub/" in page.url and time.monotonic() - started < 120:
            with contextlib.suppress(Error):  # the page may go on to the notebook while it is looked at
                seen.update(progress.all_inner_texts())
            time.sleep(0.1)
        at_work(page, ada)
        assert len(seen - {"Checking your grant."}) >= 1, f"the page told no progress but {seen}"

        page.get_by_text("00-start-here.ipynb").first.dblclick()
        page.get_by_role("heading", name="Welcome to the reading room").wait_for()
        run_all(page)
        expect(page.get_by_text("every file is what the manifest says")).to_be_visible(timeout=90_000)
        expect(page.locator(".jp-OutputArea-output img").first).to_be_visible(timeout=90_000)
        expect(
            page.locator(".jp-OutputArea-output", has_text=re.compile(r"\d+ studies, \d+ images")).first
        ).to_be_visible()
        page.wait_for_function(
            "document.querySelectorAll('.jp-InputPrompt').length > 3 && "
            "![...document.querySelectorAll('.jp-InputPrompt')].some(p => p.textContent.includes('*'))",
            timeout=90_000,
        )
        assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        picture(page, "notebook")

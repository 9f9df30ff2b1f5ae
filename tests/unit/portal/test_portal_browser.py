"""The pages in a real browser, which holds us to our own policy: what Chromium refuses, an HTTP client never notices."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.cluster.browser import browser, totp
from tests.portal import OUTSIDE, PASSWORD, Site
from tests.unit.portal.hub import Hub

HOME = f"https://{OUTSIDE}"


@pytest.fixture
def chromium(site: Site) -> Iterator[BrowserContext]:
    rules = f"--host-resolver-rules=MAP {OUTSIDE} 127.0.0.1:{site.port}, MAP * ~NOTFOUND"
    with browser(site.authority, rules) as found:
        yield found


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()


def enrol(page: Page) -> str:
    secret = page.locator("#secret").text_content() or ""
    page.get_by_label("Code").fill(totp(secret))
    page.get_by_role("button", name="Continue").click()
    return secret


def test_a_first_sign_in_with_the_keyboard_alone_from_the_hub_and_back(site: Site, chromium: BrowserContext) -> None:
    hub, page, said, asked = Hub(site), chromium.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    name = site.person("demo:researcher")
    page.goto(f"{HOME}{hub.path()}")
    page.keyboard.type(name)  # the first field has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("#secret")
    page.keyboard.type(totp(page.locator("#secret").text_content() or ""))
    page.keyboard.press("Enter")
    page.wait_for_selector("#codes")
    assert page.locator("#codes code").count() == 10
    asked.clear()
    with pytest.raises(Exception, match="ERR_NAME_NOT_RESOLVED"):  # no hub is there: the browser was sent to one
        page.goto(page.locator("#onward").evaluate("link => link.href"))
    assert asked[-1].startswith(f"{hub.question['redirect_uri']}?code=")
    assert not [text for text in said if "Refused" in text or "violates" in text]


def test_the_policy_lets_a_form_lead_to_a_hub(site: Site, chromium: BrowserContext) -> None:
    """`form-action` is judged over the whole way of redirects: sign-in form → portal → hub."""
    hub, page, said, asked = Hub(site), chromium.new_page(), [], []
    name = site.person("demo:researcher")
    page.goto(HOME)
    sign_in(page, name)
    secret = enrol(page)
    page.get_by_role("button", name="Sign out").click()
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{HOME}{hub.path()}")
    sign_in(page, name)
    page.get_by_label("Code").fill(totp(secret, time.time() + 30))
    page.get_by_role("button", name="Sign in").click()
    for _ in range(100):
        if asked[-1].startswith(f"{hub.question['redirect_uri']}?code="):
            break
        page.wait_for_timeout(100)
    assert asked[-1].startswith(f"{hub.question['redirect_uri']}?code="), (asked[-1], said)
    assert not [text for text in said if "Refused" in text or "violates" in text]


def test_the_pages_hold_no_script_and_the_style_is_applied(site: Site, chromium: BrowserContext) -> None:
    page, asked = chromium.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(HOME)
    sign_in(page, site.person("demo:researcher"))
    assert page.locator("svg.qr").bounding_box() is not None
    enrol(page)
    page.locator("#onward").click()
    assert page.locator("#project-demo").get_by_role("link", name="Open the project").is_visible()
    background = page.locator(".button").first.evaluate("node => getComputedStyle(node).backgroundColor")
    assert background == "rgb(15, 76, 92)"
    assert {url.removeprefix(HOME).partition("?")[0] for url in asked} <= {
        "/", "/sign-in", "/second-factor", "/second-factor/codes", "/static/portal.css", "/static/mark.svg",
    }  # fmt: skip
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360

"""A real browser: Debian's Chromium, driven by Playwright.

It trusts the platform's own root and nothing is switched off for it: a wrong certificate fails the journey.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

PICTURES = Path(__file__).resolve().parents[2] / "build" / "pictures"
ARGUMENTS = [
    "--no-sandbox",  # the test runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1, EXCLUDE 127.0.0.1, MAP * ~NOTFOUND",  # never a real outside host
]


def totp(secret: str, at: float | None = None) -> str:
    """RFC 6238 with the defaults of authenticator apps: SHA-1, 30 s, six digits."""
    counter = struct.pack(">Q", int((time.time() if at is None else at) // 30))
    digest = hmac.new(base64.b32decode(secret + "=" * (-len(secret) % 8)), counter, hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


@contextmanager
def browser(root_certificate: Path, *more: str) -> Iterator[BrowserContext]:
    """A fresh browser with its own home, whose certificate store holds `root_certificate` beside the usual ones.

    `more` are arguments of Chromium's; of one given twice the later counts.
    """
    with tempfile.TemporaryDirectory(prefix="rr-browser-") as home, sync_playwright() as playwright:
        store = Path(home, ".pki", "nssdb")
        store.mkdir(parents=True)
        database = f"sql:{store}"
        subprocess.run(["certutil", "-d", database, "-N", "--empty-password"], check=True, capture_output=True)
        add = ["certutil", "-d", database, "-A", "-t", "C,,", "-n", "reading-room", "-i", str(root_certificate)]
        subprocess.run(add, check=True, capture_output=True)
        context = playwright.chromium.launch_persistent_context(
            Path(home, "profile"),
            executable_path="/usr/bin/chromium",
            args=[*ARGUMENTS, *more],
            env={"HOME": home, "PATH": "/usr/bin:/bin"},
            viewport={"width": 1280, "height": 900},
        )
        try:
            yield context
        finally:
            context.close()


def picture(page: Page, name: str) -> Path:
    """Keeps what a person would see as build output."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    target = PICTURES / f"{name}.png"
    page.screenshot(path=target, full_page=True)
    return target

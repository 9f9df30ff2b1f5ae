"""Every secret that this machine has now, read as root, and a scanner for them and for whatever looks like a key."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra import places

DELIVERED = "run/delivered"  # in a pod's own file system, in memory
SHORTEST = 12
KEY_SHAPED = {
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token of Vault's": rb"\bhv[sbr]\.[A-Za-z0-9_-]{20,}",
    "a token of a service account": rb"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.",
    "the hash of a password": rb"\b(?:argon2(?:id)?|pbkdf2_sha256|scrypt|bcrypt\w*)\$[^\s\"]{8,}",
}


def _base64_lines(pem: str) -> Iterator[str]:
    """The body of a private key, line by line: a copy without its frame is found as well."""
    for body in re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", pem, re.DOTALL):
        lines = [line for line in body.split() if len(line) >= 40]
        yield from lines[1:] or lines  # the first holds the kind of key and little else


def _values(text: str) -> Iterator[str]:
    if "PRIVATE KEY-----" in text:
        yield from _base64_lines(text)
        return
    try:
        document = json.loads(text)
    except ValueError:
        document = text.strip()
    pending = [document]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending += one.values()
        elif isinstance(one, list):
            pending += one
        elif isinstance(one, str) and len(one) >= SHORTEST:
            yield one


def _delivered() -> Iterator[tuple[str, Path]]:
    for folder in Path("/proc").glob("[0-9]*/root"):
        try:
            if folder.samefile("/"):
                continue
            found = sorted((folder / DELIVERED).iterdir())
        except OSError:
            continue
        yield from ((f"delivered {file.name}", file) for file in found if file.suffix != ".crt")


def all_secrets() -> dict[str, str]:
    """Value to what it is."""
    state = places.state()
    files = [
        ("Vault's unseal share", state / "vault-unseal.json"),
        ("the passphrase of Pulumi's state", state / "pulumi" / "passphrase"),
        *((f"the node's key {file.name}", file) for file in sorted((state / "pki").glob("*.key"))),
        *((f"Vault's key {file.name}", file) for file in sorted((state / "pki-vault").glob("*.key"))),
        *_delivered(),
    ]
    found = []
    for what, file in files:
        with contextlib.suppress(OSError):  # the process has ended
            found += [(what, value) for value in _values(file.read_text(errors="replace"))]
    roster = json.loads((places.volume("accounts-roster") / "roster.json").read_text())
    found += [("the hash of a password", one["password_hash"]) for one in roster["accounts"]]
    return {value: what for what, value in sorted(found, reverse=True)}  # of two names for one value, the first


def forms(secret: str) -> Iterator[bytes]:
    """As it is, as JSON writes it, and in base64 wherever it begins in a longer text."""
    raw = secret.encode()
    yield raw
    yield json.dumps(secret)[1:-1].encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        yield encoded[4 if shift else 0 : -4]


def findings(content: bytes, secrets: dict[str, str]) -> set[str]:
    """What of it is in there, by what it is; never the value."""
    found: set[str] = set()
    if _holds_any(content, [form for secret in secrets for form in forms(secret)]):
        found = {what for secret, what in secrets.items() if any(form in content for form in forms(secret))}
    return found | {what for what, shape in KEY_SHAPED.items() if re.search(shape, content)}


def _holds_any(content: bytes, needles: list[bytes]) -> bool:
    """Asked of grep, which looks for all of them at once."""
    if not needles:
        return False
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        command = ["grep", "-a", "-q", "-F", "-f", "-", file.name]
        done = subprocess.run(command, input=b"\n".join(needles), capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0

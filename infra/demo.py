"""`make demo`: from a bare machine to an address where a researcher logs in.

Every step is a command that can be given by hand and is shown as such; what is done already is left alone, and Ctrl-C and a
second run are safe. Passwords are made here, shown once, and only their hashes go anywhere. This file makes no rule: it
calls the doors.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from images import build
from infra import places, settings
from infra.jobs import ROSTER_CLAIM
from readingroom.contract import FRONT_DOOR_PORT, PORTAL_HOST, SERVICE_UID, project_host
from readingroom.domain.errors import ReadingRoomError, WrongSetUp

PROJECT: Final = "demo"
TITLE: Final = "Reading chest CT: a first look"
CENTRE: Final = "PYDICOM"  # the hospital of the demo: files that makers and testers of DICOM software published
MEMBERS: Final = ("researcher-1", "researcher-2")
OUTSIDER: Final = "outsider"  # has a login and no project: shows what a refusal looks like
DAYS: Final = 180
ENVIRONMENT: Final = "imaging-cpu"


@contextmanager
def step(title: str) -> Iterator[None]:
    """One line when a step starts and one when it is done, with its seconds."""
    click.secho(f"▸ {title}", bold=True)
    start = time.monotonic()
    yield
    click.echo(f"  done in {time.monotonic() - start:.0f} s")


def readingroom(*words: str) -> str:
    """One command of ours, shown, run, and its output as it comes. Ends the demo with that command's status."""
    click.secho(f"  $ readingroom {' '.join(f'{word!r}' if ' ' in word else word for word in words)}", dim=True)
    program = Path(sys.executable).with_name("readingroom")
    process = subprocess.Popen([program, *words], stdout=subprocess.PIPE, text=True, env={**os.environ})
    said = []
    try:
        for line in process.stdout or ():
            click.echo(f"    {line.rstrip()}")
            said.append(line)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # a terminal has told it already; a script tells only this process
        process.wait()
        raise
    if process.wait():
        sys.exit(process.returncode)
    return "".join(said)


def people() -> None:
    """A roster with fresh passwords, unless there is one; the passwords wait, 0600, until they were shown."""
    roster = places.volume(ROSTER_CLAIM) / "roster.json"
    if roster.exists():
        return
    passwords = {name: secrets.token_urlsafe(15) for name in (*MEMBERS, OUTSIDER)}
    hashed = subprocess.run(
        [sys.executable, "-m", "readingroom.entrypoints.enrol", "hash"],
        input="\n".join(passwords.values()) + "\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if hashed.returncode:
        raise WrongSetUp(what="demo accounts", why=hashed.stderr.strip()[-300:], next_step="run make setup")
    accounts = [
        {"username": name, "display": name.replace("-", " ").capitalize(), "password_hash": one}
        for name, one in zip(passwords, hashed.stdout.split(), strict=True)
    ]
    memberships = [{"username": name, "project": PROJECT, "role": "researcher"} for name in MEMBERS]
    _write(places.state("demo-passwords.json"), json.dumps(passwords))
    _write(roster, json.dumps({"accounts": accounts, "memberships": memberships}), owner=SERVICE_UID)


def hospital() -> int:
    """Real DICOM that nobody here made, into the inbox: every such file of the packages pydicom and pydicom-data."""
    inbox = places.volume("inbox") / CENTRE
    count = 0
    for source in _published():
        target = inbox / source.name if source.parent.name == "test_files" else inbox / source.parent.name / source.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        count += 1
    for each in (inbox, *inbox.rglob("*")):
        os.chown(each, SERVICE_UID, SERVICE_UID)
    return count


def _published() -> list[Path]:
    found = []
    for package, folder in (("pydicom", "data/test_files"), ("data_store", "data")):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise WrongSetUp(
                what="demo data", which=package, why="the package is not installed", next_step="make setup"
            )
        top = Path(spec.submodule_search_locations[0], folder)
        found += [file for file in sorted(top.rglob("*")) if file.is_file() and _looks_like_dicom(file)]
    return found


def _looks_like_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return file.suffix.lower() == ".dcm" or stream.read(132)[128:] == b"DICM"


def grant(handles: dict[str, str]) -> bool:
    """A grant over the cut as it is now for the members as they are now: whether it is new, or one says the same."""
    cut_file = places.volume(f"cuts-{PROJECT}") / "cut.json"
    cut = json.loads(cut_file.read_text(encoding="utf-8"))
    image = build.references()["workspace-cpu"]
    known = settings.grants().get(PROJECT)
    if known:
        document: dict[str, Any] = json.loads(known.read_text(encoding="utf-8"))
        same = document["data"]["image"] == cut["image"] and document["images"][ENVIRONMENT]["ref"] == image
        members = {member["handle"] for member in document["members"]} == set(handles.values())
        if same and members and document["until"] > datetime.now(UTC).isoformat():
            click.echo(f"  grant {PROJECT} v{document['version']} says exactly this")
            return False
    members_words = [word for handle in sorted(handles.values()) for word in ("--member", handle)]
    readingroom(
        "project", "grant", PROJECT, *members_words, "--cut-file", str(cut_file), "--image", f"{ENVIRONMENT}={image}"
    )
    return True


def outcomes() -> Iterator[str]:
    """What happened to the files, by outcome and reason: counts only."""
    for title, name in (("received", f"ingest-{CENTRE}"), ("de-identified", f"deid-{PROJECT}")):
        lines = (places.volume("receipts") / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        counted = Counter((one["outcome"], one["reason"] or "") for one in map(json.loads, lines))
        yield f"{title}: {len(lines)} files"
        for (outcome, reason), count in sorted(counted.items()):
            yield f"  {count:4} {outcome}{f', {reason}' if reason else ''}"


def main() -> None:
    """The whole demo."""
    started = time.monotonic()
    with step("A Kubernetes node on this machine"):
        readingroom("node", "up")
    with step("What the data access committee decided"):
        if PROJECT not in settings.decisions():
            until = (datetime.now(UTC) + timedelta(days=DAYS)).strftime("%Y-%m-%d")
            members = [word for name in MEMBERS for word in ("--member", name)]
            readingroom(
                "project", "decide", PROJECT, "--title", TITLE, "--request", "rq-0001", "--until", until,
                "--modality", "CT", *members,
            )  # fmt: skip
    with step("The platform, by Pulumi"):
        readingroom("platform", "up")
    with step("Accounts"):
        people()
        handles = json.loads(readingroom("platform", "job", "enrol", "--json").splitlines()[-1])[PROJECT]
        click.echo(
            f"  {len(handles)} members of project {PROJECT}, each with a second factor to set up at the first login"
        )
    with step("Real DICOM, received, de-identified, cut"):
        click.echo(f"  {hospital()} files from the packages pydicom and pydicom-data in the inbox of {CENTRE}")
        readingroom("platform", "job", "ingest", "--centre", CENTRE)
        readingroom("platform", "job", "deid", "--project", PROJECT)
        readingroom("platform", "job", "cut", "--project", PROJECT)
    with step("The grant, and the project it opens"):
        if grant(handles):
            readingroom("platform", "up", "--project", PROJECT)
    click.echo()
    for line in outcomes():
        click.echo(line)
    _goodbye(time.monotonic() - started)


def _goodbye(seconds: float) -> None:
    click.secho(f"\nReady after {seconds:.0f} s.", bold=True)
    click.echo(f"  researchers   https://{project_host(PROJECT)}:{FRONT_DOOR_PORT}/")
    click.echo(f"  portal        https://{PORTAL_HOST}:{FRONT_DOOR_PORT}/")
    click.echo(f"  trust this    {places.state('readingroom-ca.pem')} (the platform's own authority, for your browser)")
    click.echo("  from afar     ssh -L 8443:127.0.0.1:8443 root@this-machine; names in .localhost lead to your own end")
    waiting = places.state("demo-passwords.json")
    if waiting.exists():
        click.echo("  accounts, shown this once:")
        for name, password in json.loads(waiting.read_text(encoding="utf-8")).items():
            role = f"researcher of {PROJECT}" if name in MEMBERS else "no project: sees a refusal"
            click.echo(f"    {name:14} {password:22} {role}")
        waiting.unlink()
    else:
        click.echo("  accounts      as shown by the first run; `make clean` and `make demo` make new ones")


def _write(path: Path, text: str, owner: int = 0) -> None:
    """Whole or not at all, 0600."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    os.chown(fresh, owner, owner)
    fresh.replace(path)


if __name__ == "__main__":
    try:
        main()
    except ReadingRoomError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        click.echo("stopped by Ctrl-C; running `make demo` again is safe", err=True)
        sys.exit(1)

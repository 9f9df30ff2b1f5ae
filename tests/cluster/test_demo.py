"""`make demo`, as a newcomer sees it, and once more: the second run changes nothing."""

from __future__ import annotations

import json
import re

import pytest

from infra import places
from readingroom.contract import FRONT_DOOR_PORT, PORTAL_HOST, project_host
from tests.cluster import site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_it_ends_with_the_addresses_and_with_what_became_of_every_file(demo: tuple[str, float]) -> None:
    said, _ = demo
    assert f"https://{project_host('demo')}:{FRONT_DOOR_PORT}/" in said
    assert f"https://{PORTAL_HOST}:{FRONT_DOOR_PORT}/" in said
    received = re.search(r"received: (\d+) files\n((?:\s+\d+ .*\n)+)", said)
    assert received, said[-3000:]
    counts = [int(line.split()[0]) for line in received[2].splitlines()]
    assert sum(counts) == int(received[1]) > 200
    assert re.search(r"\d+ released", said)
    assert re.search(r"\d+ held, pixels-doubtful", said)


def test_a_second_run_changes_nothing_and_shows_no_password_again(demo: tuple[str, float]) -> None:
    grants = sorted(places.state("grants", "demo").iterdir())
    said, _ = site.demo()
    for stack in ("local", "project-demo"):
        told = re.findall(rf"^ +{stack}: (.+)$", said, re.MULTILINE)
        assert told
        assert all(re.fullmatch(r"\d+ unchanged", changes) for changes in told), told
    assert sorted(places.state("grants", "demo").iterdir()) == grants
    assert "accounts, shown this once" not in said


def test_nobody_elses_passwords_lie_about_afterwards(demo: tuple[str, float]) -> None:
    assert not places.state("demo-passwords.json").exists()
    roster = places.volume("accounts-roster") / "roster.json"
    assert roster.stat().st_mode & 0o777 == 0o600
    accounts = json.loads(roster.read_text())["accounts"]
    assert all(one["password_hash"].startswith("scrypt$") for one in accounts)


def test_only_ct_of_the_released_is_cut_and_the_grant_names_exactly_that_cut(demo: tuple[str, float]) -> None:
    warehouse = (places.volume("warehouse-demo") / "manifest.jsonl").read_text().splitlines()
    released = {one["path"]: one["modality"] for one in map(json.loads, warehouse)}
    cut = json.loads((places.volume("cuts-demo") / "cut.json").read_text())
    assert set(released.values()) > {"CT"}, "the warehouse holds something that the project may not have"
    assert cut["counts"]["instances"] == sum(modality == "CT" for modality in released.values()) > 0
    grant = json.loads(max(places.state("grants", "demo").iterdir(), key=lambda p: int(p.stem[1:])).read_text())
    assert grant["data"]["image"] == cut["image"]
    assert len(grant["members"]) == 2

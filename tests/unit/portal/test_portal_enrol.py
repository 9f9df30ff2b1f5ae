"""The Job that enrols: its roster, its result, its one line when it cannot, and the hashes it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from readingroom.adapters.db.hashers import check_password_hash, password_hash
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.people import Handle, Membership, Role
from readingroom.entrypoints.enrol import read_roster, write_result
from tests.portal import PASSWORD, ROOT, Site

HASH = password_hash(PASSWORD)
ADA: dict[str, Any] = {"username": "ada", "display": "Ada", "password_hash": HASH}
MEMBER: dict[str, Any] = {"username": "ada", "project": "demo", "role": "researcher"}


def text(accounts: Any = (ADA,), memberships: Any = (MEMBER,), **more: Any) -> str:
    return json.dumps({"accounts": accounts, "memberships": memberships, **more})


def test_a_roster_is_read_and_hides_its_names() -> None:
    roster = read_roster(text())
    assert roster.memberships == (("ada", Membership("demo", Role.RESEARCHER)),)
    assert roster.accounts[0].username == "ada"
    assert "ada" not in repr(roster).lower()


@pytest.mark.parametrize(
    "wrong",
    [
        "", "[]", "{}", "{", text(more=1), text(accounts=[{**ADA, "email": "x"}]), text(accounts=["ada"]),
        text(accounts=[{"username": "ada", "password_hash": HASH}]), text(accounts=[{**ADA, "display": 1}]),
        text(memberships=[{**MEMBER, "role": "admin"}]), text(memberships=[{**MEMBER, "until": "x"}]),
        text(accounts=[{**ADA, "password_hash": PASSWORD}]),
        text(accounts=[{**ADA, "password_hash": "pbkdf2_sha256_random$1$salt$AAAA"}]),
        text(accounts=[{**ADA, "password_hash": HASH.replace("16384", "2")}]),
        text(accounts=[{**ADA, "password_hash": "scrypt$"}]),
    ],
)  # fmt: skip
def test_a_roster_of_another_form_is_refused_without_a_name(wrong: str) -> None:
    with pytest.raises(WrongSetUp) as refused:
        read_roster(wrong)
    assert "ada" not in str(refused.value).lower()


def test_a_result_that_would_be_cut_short_is_refused(tmp_path: Path) -> None:
    write_result({"demo": {}}, tmp_path / "handles.json")
    assert (tmp_path / "handles.json").read_text() == '{"demo": {}}'
    with pytest.raises(WrongSetUp, match="4096"):
        write_result({"demo": {f"person-{n}": Handle("raaaaaaa") for n in range(300)}}, Path("/dev/termination-log"))
    with pytest.raises(WrongSetUp, match="cannot be written"):
        write_result({}, tmp_path / "no" / "folder")


def test_passwords_are_hashed_line_by_line_and_short_ones_refused() -> None:
    command = [sys.executable, "-m", "readingroom.entrypoints.enrol", "hash"]
    done = subprocess.run(
        command, input=f"{PASSWORD}\nanother long one\n", capture_output=True, text=True, check=True, cwd=ROOT
    )
    first, second = done.stdout.split("\n")[:2]
    for hashed in (first, second):
        check_password_hash(hashed)
        assert len(hashed) <= 128
    assert PASSWORD not in done.stdout
    refused = subprocess.run(command, input="short\n", capture_output=True, text=True, check=False, cwd=ROOT)
    assert refused.returncode == 1
    assert refused.stderr == ("wrong set-up: a password; it has fewer than 12 characters. Next: choose a longer one.\n")


@pytest.mark.parametrize(
    ("roster", "status", "line"),
    [
        ("{", 1, "wrong set-up: the roster of accounts; it is not of the expected form (JSONDecodeError)."),
        (text(accounts=[ADA, ADA]), 1, "wrong set-up: the roster of accounts; an account is named twice."),
        (text(memberships=[MEMBER, {**MEMBER, "role": "committee"}]), 3, "refused: the role "),
    ],
)
def test_a_bad_roster_is_one_line_a_status_and_no_change(site: Site, roster: str, status: int, line: str) -> None:
    before = site.sql("SELECT count(*) FROM people_person") + site.sql("SELECT count(*) FROM people_role")
    done = site.job(roster)
    assert done.returncode == status
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert "ada" not in done.stderr.lower()
    assert site.sql("SELECT count(*) FROM people_person") + site.sql("SELECT count(*) FROM people_role") == before


def test_a_database_that_is_away_is_one_line(site: Site) -> None:
    environment = {**site.environment, "RR_DATABASE_PORT": "1"}
    (site.folder / "roster.json").write_text(text())
    command = [sys.executable, "-m", "readingroom.entrypoints.enrol"]
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("not now: the portal's database; it does not answer.")
    assert done.stderr.count("\n") == 1


def test_the_job_says_how_many_and_never_who(site: Site) -> None:
    name = site.person("demo:researcher")
    roster = {"accounts": list(site.accounts.values()), "memberships": site.memberships}
    done = site.job(json.dumps(roster))
    assert done.returncode == 0
    assert f"{len(site.accounts)} accounts and {len(site.memberships)} memberships" in done.stderr
    assert name not in done.stdout + done.stderr
    assert name in (site.folder / "handles.json").read_text()


def test_a_password_is_not_changed_by_a_later_roster(site: Site) -> None:
    name = site.person("demo:researcher")
    site.accounts[name]["password_hash"] = password_hash("another long password")
    site.enrol()
    assert site.visitor().sign_in(name).status == 302


def test_a_person_s_hash_is_scrypt_and_a_hub_s_secret_is_not_slow(site: Site) -> None:
    name = site.person("demo:researcher")
    assert site.sql("SELECT DISTINCT split_part(password, '$', 1) FROM people_person") == "scrypt"
    assert site.sql("SELECT DISTINCT split_part(secret, '$', 2) FROM allauth_idp_oidc_client") == "1"
    site.visitor().sign_in(name)
    stored = site.sql("SELECT split_part(password, '$', 1) FROM people_person WHERE username = :'name'", name=name)
    assert stored == "scrypt"

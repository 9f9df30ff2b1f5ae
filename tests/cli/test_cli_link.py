"""`readingroom link`: four people, a key that works once, and a table whose rows are those of the project's patients alone."""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
import json
import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from readingroom.domain.deid.identity import is_nhs_number
from readingroom.domain.deid.keys import Pseudonyms, PurposeKeys
from readingroom.domain.linkage.tokens import LinkKey
from tests.cli.command import Done, one_line, run, start
from tests.cli.test_cli_decide import deciding
from tests.unit.data.warehouses import unpacked
from tests.unit.optout.people import ONE, THREE, TWO, image, spaced

KEY = b"k" * 32


def person(patient: str, name: str, born: str, sex: str = "F", number: int = 1, **changes: Any) -> bytes:
    told = {"x00080005": ("CS", "ISO_IR 100"), "x00100010": ("PN", name), "x00100030": ("DA", born)}
    return image(patient, number, **{**told, "x00100040": ("CS", sex), **changes})


SENT = {
    "1.dcm": person(spaced(ONE), "O'Brien^Mary", "19500403"),
    "2.dcm": person("RXH0000002", "Müller=Ignored^Jürgen", "19610102", "M"),
    "3.dcm": person("RXH0000003", "Okafor^Ada", "19720203", x00101000=("LO", TWO)),
    "4.dcm": person(THREE, "Nowak^Ewa", "19330405"),
    "5.dcm": person("RXH0000005", "Lindqvist^Pia", "19440506"),
    "6a.dcm": person("RXH0000006", "Banerjee^Asha", "19550607"),
    "6b.dcm": person("RXH0000006", "Sen^Asha", "19550607", number=2),  # married meanwhile: neither name is used
    "7.dcm": person("RXH0000007", "Hughes^Rhys", "19660708", "M"),
}
AFTER = {"8.dcm": person("RXH0000008", "Castellan^Ines", "19770809")}  # received after `deid`: not the project's
HEADER = "NHS Number,Surname,Date of birth,Sex,Date of visit,Vital status,Date of death,mMRC,FVC,Home oxygen,Notes"
TABLE = [
    f"{ONE},O'BRIEN,03/04/1950,F,04/05/2021,alive,,2,3.456,n,Mary is well",
    ",Mueller,02/01/1961,M,,dead,05/06/2021,,,,no match: another spelling",
    ",MULLER,02/01/1961,1,2021-05-06,Featherstone,,3,2.1,y,",
    f"{spaced(TWO)},Okafor-Eze,03/02/1972,F,2021-07-08,alive,,0,{TWO},,",
    f"{THREE},Nowak,05/04/1933,F,2021-07-08,alive,,0,2.5,,opted out on the other side",
    ",Banerjee,07/06/1955,F,2021-07-08,alive,,0,2.5,,",
    ",Castellan,09/08/1977,F,2021-07-08,alive,,0,2.5,,",
    ",Hughes,08/07/1966,M,2021-07-08,alive,,0,2.5,,twice",
    ",Hughes,08/07/1966,M,2021-07-09,alive,,1,2.5,,twice",
    ",,,,2021-07-08,alive,,0,2.5,,nobody",
    "9990000000,Abernathy,31/12/1980,F,2021-07-08,alive,,0,2.5,,only here",
]
OURS = ("RXH000000", "Müller", "Lindqvist", "LINDQVIST", "lindqvist", "19500403", "1950-04-03", ONE, TWO, THREE)
THEIRS = ("Abernathy", "ABERNATHY", "abernathy", "1980-12-31", "31/12/1980", "9990000000", "Featherstone", "2021-05-04")

_folder = tempfile.TemporaryDirectory(prefix="link-")  # goes with the process


@functools.cache
def made() -> Path:
    """A landing, the project's warehouse and a partner's table, which no test changes."""
    work = Path(_folder.name)
    (work / "key").write_bytes(KEY)
    receive(work, "in", SENT)
    given = ("--project", "demo", "--key-file", work / "key", "--landing", "--jobs", 2)
    done = run("deid", work / "landing", work / "w", *given)
    assert "8 files: 8 released" in done.stdout, done.stdout + done.stderr
    receive(work, "later", AFTER)
    (work / "table.csv").write_text("\n".join([HEADER, *TABLE]) + "\n", encoding="utf-8")
    (work / "out").mkdir()
    (work / "out" / "opted-out.txt").write_text(f"{THREE}\n")
    return work


def receive(work: Path, inbox: str, files: dict[str, bytes]) -> None:
    (work / inbox).mkdir()
    for name, content in files.items():
        (work / inbox / name).write_bytes(content)
    done = run("ingest", work / inbox, "--centre", "ABC", "--landing", work / "landing")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return shutil.copytree(made(), tmp_path / "work")


def link(work: Path, *arguments: object) -> Done:
    return run("link", *arguments, state=work / "state")


def begin(work: Path, keys: str = "keys") -> LinkKey:
    done = link(work, "begin", work / keys)
    assert done.returncode == 0, done.stderr
    document = json.loads((work / keys / "project.key").read_text())
    return LinkKey(base64.b64decode(document["secret"]), document["link"])


def ask(work: Path, *more: object, key: str = "keys/project.key", tokens: str = "project.tokens") -> Done:
    given = ("--project", "demo", "--landing", work / "landing", "--warehouse", work / "w", "--key-file", work / "key")
    files = ("--key", work / key, "--tokens", work / tokens, "--kept", work / "kept")
    return link(work, "ask", *given, "--policy", "follow-up", "--opt-outs", work / "out", *files, *more)


def offer(work: Path, *more: object, table: str = "table.csv", key: str = "keys/partner.key") -> Done:
    files = ("--key", work / key, "--tokens", work / "partner.tokens")
    return link(work, "offer", work / table, "--policy", "follow-up", *files, *more)


def match(work: Path, *more: object) -> Done:
    return link(work, "match", work / "project.tokens", work / "partner.tokens", "--spine", work / "spine", *more)


def join(work: Path, *more: object, out: str = "linked") -> Done:
    given = ("--kept", work / "kept", "--warehouse", work / "w", "--policy", "follow-up", "--out", work / out)
    return link(work, "join", work / "spine", *given, *more)


def joined(work: Path) -> list[Done]:
    """All four steps, each confirmed."""
    begin(work)
    done = [ask(work, "--confirm"), offer(work, "--confirm"), match(work), join(work)]
    assert [each.returncode for each in done] == [0, 0, 0, 0], [each.stderr for each in done]
    return done


def rows(work: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((work / "linked" / "clinical.csv").read_text())))


def written(work: Path, *names: str) -> bytes:
    """Every byte of these files and folders."""
    paths = [path for name in names for path in [work / name, *(work / name).rglob("*")] if path.is_file()]
    assert paths
    return b"\0".join(path.read_bytes() + path.name.encode() for path in paths)


def test_who_is_the_same_on_both_sides_is_joined_and_dates_move_as_those_of_the_images(work: Path) -> None:
    joined(work)
    names = Pseudonyms(PurposeKeys.from_secret(KEY), "demo")
    people = {names.patient(who): names.days(who) for who in (f"nhs:{ONE}", "local::RXH0000002", "local::RXH0000003")}
    found = {row.pop("patient"): row for row in rows(work)}
    assert set(found) == set(people)
    one, two, three = (found[patient] for patient in people)
    days = list(people.values())
    assert (one["linked_by"], two["linked_by"], three["linked_by"]) == ("number", "demographics", "number")
    assert one["followed_up_on"] == (date(2021, 5, 4) - timedelta(days=days[0])).isoformat()
    assert two["followed_up_on"] == (date(2021, 5, 6) - timedelta(days=days[1])).isoformat()
    assert (one["breathlessness"], one["fvc"], one["oxygen_at_home"], one["vital_status"]) == (
        "2",
        "3.46",
        "false",
        "A",
    )
    assert (two["vital_status"], three["fvc"]) == ("", "")  # a text that is no code; a number of theirs
    table = parquet.read_table(work / "linked" / "clinical.parquet").to_pylist()
    assert [row["patient"] for row in table] == sorted(people)
    facts = json.loads((work / "linked" / "linked.json").read_text())
    for name, digest in facts["files"].items():
        assert hashlib.sha256((work / "linked" / name).read_bytes()).hexdigest() == digest
    assert facts["project"] == "demo"


def test_nobody_sees_whom_another_has(work: Path) -> None:
    done = joined(work)
    said = "".join(each.stdout + each.stderr for each in done).encode()
    for_matcher = written(work, "project.tokens", "partner.tokens")
    for_project = written(work, "kept", "spine", "linked", "state")
    for mark in (*OURS, *THEIRS, "Mary", "well", "2021-05-06", "2021-07-08"):
        for place in (said, for_matcher, for_project):
            assert mark.encode() not in place, mark
    # the project gets three rows, sealed; of the others it gets nothing
    offered = [json.loads(line) for line in (work / "partner.tokens").read_text().splitlines()[1:]]
    spine = [json.loads(line) for line in (work / "spine").read_text().splitlines()[1:]]
    assert len(spine) == 3
    others = [line for line in offered if line["row"] not in {each["row"] for each in spine}]
    assert len(others) == len(TABLE) - 3
    sealed = b"".join(base64.b64decode(line["row"]) for line in offered)
    assert not any(mark in sealed for mark in (b"2021", b"fvc", b"alive"))
    for line in others:
        for value in (line["number"], line["demographics"], line["row"]):
            assert not value or value.encode() not in for_project


def test_trying_all_numbers_on_the_files_finds_nobody_without_the_key_and_everybody_with_it(work: Path) -> None:
    key = begin(work)
    assert (ask(work, "--confirm").returncode, offer(work, "--confirm").returncode) == (0, 0)
    match(work)
    seen = written(work, "project.tokens", "partner.tokens", "spine").decode("ascii")
    about = int(ONE)
    tried = [str(number) for number in range(about - 300, about + 300) if is_nhs_number(str(number))]
    assert ONE in tried
    assert [number for number in tried if key.number(number) in seen] == [ONE]
    project = Pseudonyms(PurposeKeys.from_secret(bytes(32)), "demo")
    for number in tried:
        for text in (number, f"nhs:{number}", key.link + number, f"demo{number}"):
            for function in (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512):
                digest = function(text.encode())
                assert digest.hexdigest()[:32] not in seen
                assert base64.b32encode(digest.digest()).decode()[:20] not in seen
        assert LinkKey(bytes(32), key.link).number(number) not in seen
        assert project.patient(f"nhs:{number}") not in seen


def test_without_confirm_nothing_is_written_and_the_key_stays(work: Path) -> None:
    begin(work)
    before = {path for path in work.rglob("*") if path.name != "state"}
    asked, offered = ask(work, "--json"), offer(work, "--json")
    assert {path for path in work.rglob("*") if path.name != "state"} == before
    assert json.loads(asked.stdout) == {
        "confirmed": False,
        "patients": 6,
        "with_number": 2,
        "with_demographics": 5,
        "disagreeing": 1,
        "opted_out": 1,
        "unread_images": 0,
    }
    counts = {"confirmed": False, "rows": len(TABLE), "with_number": 3, "with_demographics": 10}
    assert json.loads(offered.stdout) == counts


def test_a_key_is_destroyed_when_used_and_a_copy_of_it_is_refused(work: Path) -> None:
    begin(work)
    shutil.copytree(work / "keys", work / "copy")
    for step, name in ((ask, "project"), (offer, "partner")):
        assert step(work, "--confirm").returncode == 0
        assert not (work / "keys" / f"{name}.key").exists()
        for more in ((), ("--confirm",)):
            again = step(work, *more, key=f"copy/{name}.key")
            assert again.returncode == 3
            assert "used once" in one_line(again)


def test_a_run_that_was_killed_is_repeated_with_the_same_output_and_no_other(work: Path) -> None:
    begin(work)
    shutil.copytree(work / "keys", work / "copy")
    assert offer(work, "--confirm").returncode == 0
    tokens = (work / "partner.tokens").read_bytes()
    [memory] = (work / "state" / "readingroom" / "links").iterdir()
    memory.write_text(hashlib.sha256(tokens).hexdigest())  # as it was before the tokens were shown
    (work / "partner.tokens").unlink()
    (work / "other.csv").write_text("\n".join([HEADER, *TABLE[1:]]))
    refused = offer(work, "--confirm", table="other.csv", key="copy/partner.key")
    assert refused.returncode == 3
    assert not (work / "partner.tokens").exists()
    (work / "turned.csv").write_text("\n".join([HEADER, *reversed(TABLE)]))
    assert offer(work, "--confirm", table="turned.csv", key="copy/partner.key").returncode == 0
    assert (work / "partner.tokens").read_bytes() == tokens
    assert not (work / "copy" / "partner.key").exists()


def test_match_and_join_again_change_nothing(work: Path) -> None:
    joined(work)
    before = written(work, "spine", "linked")
    again = join(work), match(work), join(work)
    assert [each.returncode for each in again] == [0, 0, 0]
    assert "nothing changed" in again[2].stdout
    assert written(work, "spine", "linked") == before


def test_who_left_the_warehouse_since_gets_no_row(work: Path) -> None:
    joined(work)
    (work / "out" / "opted-out.txt").write_text(f"{THREE}\n{ONE}\n")
    given = ("--project", "demo", "--key-file", work / "key", "--landing", "--opt-outs", work / "out")
    assert run("deid", work / "landing", work / "w", *given).returncode == 0
    assert join(work).returncode == 0
    assert len(rows(work)) == 2
    assert Pseudonyms(PurposeKeys.from_secret(KEY), "demo").patient(f"nhs:{ONE}").encode() not in written(
        work, "linked"
    )


def cutting(work: Path, *more: object, linked: str = "linked") -> Done:
    given = ("--project", "demo", "--warehouse", work / "w", "--out", work / "cuts", "--linked", work / linked)
    return run("cohort", "cut", *given, *more, state=work / "state")


def test_a_cut_carries_the_joined_table_if_the_decision_names_it_and_is_refused_otherwise(work: Path) -> None:
    joined(work)
    assert run(*deciding(), state=work / "state").returncode == 0
    refused = cutting(work)
    assert refused.returncode == 3
    assert "follow-up" in one_line(refused)
    assert not (work / "cuts" / "cut.json").exists()
    assert run(*deciding(), "--linked", "follow-up", state=work / "state").returncode == 0
    record = json.loads(cutting(work, "--json").stdout)
    inside = unpacked(work / "cuts" / record["tar"])
    tables = {name: content for name, content in inside.items() if name.startswith("linked/follow-up/")}
    assert {name.rsplit("/", 1)[1] for name in tables if not name.endswith(":")} == {
        "clinical.csv",
        "clinical.parquet",
        "clinical-dictionary.csv",
    }
    assert tables["linked/follow-up/clinical.csv"] == (work / "linked" / "clinical.csv").read_bytes()
    named = {file["path"]: file for file in json.loads(inside["MANIFEST.json"])["files"]}
    for name in tables:
        if not name.endswith(":"):
            assert named[name]["modality"] == "linked"
            assert named[name]["sha256"] == hashlib.sha256(bytes(inside[name])).hexdigest()
    assert json.loads(cutting(work, "--json").stdout) == record


def test_a_joined_table_that_somebody_touched_or_of_another_project_is_in_no_cut(work: Path) -> None:
    joined(work)
    assert run(*deciding(), "--linked", "follow-up", state=work / "state").returncode == 0
    shutil.copytree(work / "linked", work / "touched")
    (work / "touched" / "clinical.csv").write_text("patient,linked_by\n")
    shutil.copytree(work / "linked", work / "others")
    facts = json.loads((work / "linked" / "linked.json").read_text())
    (work / "others" / "linked.json").write_text(json.dumps({**facts, "project": "other"}))
    shutil.copytree(work / "linked", work / "odd")
    (work / "odd" / "linked.json").write_text(json.dumps({**facts, "policy": "../../etc"}))
    for folder, status in (("touched", 3), ("others", 3), ("odd", 1), ("w", 1)):
        done = cutting(work, linked=folder)
        assert done.returncode == status, folder
        assert "Next: " in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
    facts["files"]["clinical.csv"] = "0" * 64
    (work / "others" / "linked.json").write_text(json.dumps(facts))
    twice = cutting(work, "--linked", work / "others")
    assert twice.returncode == 3
    assert "twice" in one_line(twice)
    assert not (work / "cuts" / "cut.json").exists()


def test_the_report_tells_no_small_count(work: Path) -> None:
    done = joined(work)[2]
    counts = done.stdout.splitlines()[1:-1]
    assert len(counts) == 7
    assert {tuple(line.split()[1:]) for line in counts} == {("fewer", "than", "10") * 2}
    told = json.loads(match(work, "--json").stdout)
    assert {count for side in ("project", "partner") for count in told[side].values()} == {None}


def test_sides_of_two_links_are_refused(work: Path) -> None:
    begin(work)
    assert ask(work, "--confirm").returncode == 0
    begin(work, "others")
    assert offer(work, "--confirm", key="others/partner.key").returncode == 0
    done = match(work)
    assert done.returncode == 3
    assert "two links" in one_line(done)
    assert not (work / "spine").exists()


def test_what_somebody_changed_on_the_way_makes_no_table(work: Path) -> None:
    joined(work)
    shutil.rmtree(work / "linked")
    head, one, *more = (work / "spine").read_text().splitlines()
    document, other = json.loads(one), json.loads(more[0])
    for changed in ({**document, "row": other["row"]}, {**document, "row": "AAAA"}, {**document, "patient": "A" * 20}):
        (work / "spine").write_text("\n".join([head, json.dumps(changed), *more]) + "\n")
        done = join(work)
        assert done.returncode == 3
        one_line(done)
        assert not (work / "linked").exists()


@pytest.mark.parametrize(
    ("step", "status", "why"),
    [
        (lambda w: ask(w, key="keys/partner.key"), 3, "partner's"),
        (lambda w: offer(w, key="keys/project.key"), 3, "project's"),
        (lambda w: offer(w, key="table.csv"), 1, "cannot be read"),
        (lambda w: offer(w, table="gone.csv"), 1, "cannot be read"),
        (lambda w: offer(w, table="key"), 3, "is not there once"),
        (lambda w: link(w, "begin", w / "keys"), 1, "not empty"),
        (lambda w: link(w, "match", w / "key", w / "key", "--spine", w / "spine"), 1, "cannot be read"),
        (join, 1, "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(work: Path, step: Any, status: int, why: str) -> None:
    begin(work)
    done = step(work)
    assert done.returncode == status
    line = one_line(done)
    assert why in line
    assert not any(mark in line for mark in (*OURS, *THEIRS))


def test_nothing_is_written_among_the_files_of_landing_and_warehouse(work: Path) -> None:
    begin(work)
    for tokens in ("w/project.tokens", "landing/project.tokens"):
        done = ask(work, "--confirm", tokens=tokens)
        assert done.returncode == 2
        assert "--tokens must lie outside" in done.stderr
    assert (work / "keys" / "project.key").exists()
    joined_into = join(work, out="w/linked")
    assert joined_into.returncode == 2


def test_a_row_that_is_off_is_named_by_its_number(work: Path) -> None:
    begin(work)
    (work / "table.csv").write_text(f"{HEADER}\n{TABLE[0]}\n{TABLE[1]},more\n")
    line = one_line(offer(work))
    assert "row 3" in line
    assert "Mueller" not in line


def test_tokens_are_for_their_owner_alone_and_the_command_starts_as_users_start_it(work: Path) -> None:
    joined(work)
    for name in ("project.tokens", "partner.tokens", "kept", "spine"):
        assert (work / name).stat().st_mode & 0o077 == 0
    assert start("link", "--help").returncode == 0

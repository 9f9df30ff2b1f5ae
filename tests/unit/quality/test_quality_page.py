"""The page of a quality report: nothing of it runs, loads or breaks out, and its pictures have their numbers beside them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from readingroom.adapters.quality_page import ReportFolder, page
from readingroom.domain.clinical.cells import How
from readingroom.domain.quality import ImageLook, RecordLook, Tally

EVIL = "\"'><script>alert(1)</script><img src=//x onerror=alert(1)>&"
VOID = {"meta"}
TOLD = {"uid-conflict": {"sentence": f"Two files. {EVIL}", "next": "Look."}}


def full(word: str = "word") -> dict[str, Any]:
    tally = Tally()
    for number in range(60):
        month = f"2020-{number % 4 + 1:02d}" if number < 40 else "absent"
        tally.image(
            ImageLook(study=f"s{number}", patient="p", modality=word, maker=word, month=month, filled=number % 8)
        )
        how = {word: How.REPAIRED if number < 5 else How.NULL}
        tally.record(RecordLook(patient="p", how=how, unclear=(), assumed=(), conflict=False, unknown=0))
    tally.receipt([("held", "uid-conflict"), ("received", "new"), ("rejected", word)])
    tally.unreadable = 2
    return tally.document(word, "f" * 64)


class Reader(HTMLParser):
    """Tags, attributes and ids, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_what_is_hostile_stays_text() -> None:
    plain, evil = Reader(page(full(), {})), Reader(page(full(EVIL), TOLD))
    assert not evil.open, "every tag is closed"
    assert {tag for tag, _ in evil.tags} == {tag for tag, _ in plain.tags}
    assert not evil.all("script")
    assert not evil.all("img")
    assert EVIL not in page(full(EVIL), TOLD)
    assert {name for _, attributes in evil.tags for name in attributes if name.startswith("on")} == set()


def test_the_page_loads_and_runs_nothing_and_its_own_policy_says_so() -> None:
    text = page(full(), {})
    found = Reader(text)
    for _, attributes in found.tags:
        assert {"src", "style", "srcset", "action", "data"}.isdisjoint(attributes)
        assert str(attributes.get("href", "#")).startswith("#")
    [style] = re.findall("<style>(.*)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    [policy] = [each["content"] for each in found.all("meta") if "http-equiv" in each]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'"
    assert "url(" not in style
    assert "@import" not in style


def test_whoever_sees_no_picture_reads_the_same() -> None:
    found = Reader(page(full(), {}))
    assert found.all("html") == [{"lang": "en"}]
    assert len(found.all("h1")) == len(found.all("main")) == 1
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(each["href"]).removeprefix("#") for each in found.all("a")} == set(ids)
    assert all("aria-label" in each or each.get("aria-hidden") == "true" for each in found.all("svg"))
    assert len(found.all("table")) == len(found.all("caption")) == len(found.all("thead"))
    assert all(each.get("scope") in {"col", "row"} for each in found.all("th"))
    assert all(each["tabindex"] == "0" for each in found.all("div") if each.get("role") == "region")


def test_a_centre_that_sent_nothing_has_a_page() -> None:
    document = Tally().document("SYN01", "f" * 64)
    assert not Reader(page(document, {})).open
    assert "0 batches" in page(document, {})


def test_small_counts_are_drawn_alike_whatever_they_are() -> None:
    def drawn(few: int) -> str:
        tally = Tally()
        for number in range(60):
            month, filled = ("2020-02", 1) if number < few else ("2020-01", 0)
            tally.image(
                ImageLook(study=f"s{number}", patient="p", modality="CT", maker="GE", month=month, filled=filled)
            )
        return page(tally.document("SYN01", "f" * 64), {})

    assert drawn(2) == drawn(7)


def test_files_are_whole_equal_and_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    ReportFolder(folder, {}).put("SYN01", full())
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    ReportFolder(folder, {}).put("SYN01", full())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    assert set(first) == {"SYN01.html", "SYN01.json"}
    assert json.loads(first["SYN01.json"]) == full()
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())

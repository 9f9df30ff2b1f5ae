"""A hold-out that is small enough to make by hand, a plan for it, and submissions of every kind."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import yaml

from readingroom.entrypoints.settings import policies_folder
from tests.unit.evaluation.plans import DOCUMENT

PATIENTS = 60
COLUMNS = ("patient", "final_covid_status", "sex", "age", "secret")

# An image's first byte is the score that an honest submission gives; the rest is what no answer may hold.
HONEST = """
import csv
seen = {}
for line in csv.DictReader(open("/cases/cases.csv")):
    seen.setdefault(line["case"], []).append(open(line["image"], "rb").read()[0] / 255)
with open("predictions.csv", "w") as file:
    file.write("case,covid\\n")
    for case, scores in seen.items():
        file.write(f"{case},{sum(scores) / len(scores)}\\n")
"""


def storage(folder: Path) -> Path:
    """The hold-out's storage: de-identified images and a clinical table, of whom every other is positive."""
    lines = []
    rows = []
    for number in range(PATIENTS):
        patient, positive = f"P{number:019d}", number % 2
        for image in range(1 + number % 2):
            score = min(255, 120 * positive + (number * 37) % 140)
            content = bytes([score]) + f"pixels of {patient} {image}".encode()
            lines.append(_put(folder / "warehouse", f"images/{patient}/1.2/1.2.{image}/1.dcm", content, "CT"))
        rows.append([patient, str(positive), "FM"[number % 3 % 2], str(20 + number), f"SECRET{number}"])
    rows.append(["P" + "9" * 19, "1", "F", "50", "no images"])
    table = folder / "warehouse" / "clinical.csv"
    with table.open("w", newline="", encoding="ascii") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    lines.append(_put(folder / "warehouse", "clinical.csv", table.read_bytes(), "clinical"))
    write_manifest(folder, sorted(lines, key=lambda line: str(line["path"])))
    return folder


def write_manifest(folder: Path, lines: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "warehouse" / "manifest.jsonl").write_text(text, encoding="ascii")


def _put(warehouse: Path, place: str, content: bytes, modality: str) -> dict[str, object]:
    (warehouse / place).parent.mkdir(parents=True, exist_ok=True)
    (warehouse / place).write_bytes(content)
    image = modality == "CT"
    return {
        "path": place,
        "sha256": hashlib.sha256(content).hexdigest(),
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2" if image else None,
        "modality": modality,
        "profile": "nccid",
        "profile_sha256": "0" * 64,
        "actions": {},
        "project": "holdout",
    }


def policies(folder: Path, **changes: object) -> Path:
    """The policies of the checkout, with a plan of the name `small`."""
    shutil.copytree(policies_folder() / "schema", folder / "schema")
    (folder / "evaluation").mkdir()
    tasks = {"covid": {"column": "final_covid_status", "positive": ["1"], "negative": ["0"], "threshold": 0.5}}
    telling = {"smallest": 10, "blur": 5, "step": 0.05}
    document = {**DOCUMENT, "tasks": tasks, "telling": telling, "groups": {}, **changes}
    (folder / "evaluation" / "small.yaml").write_text(yaml.safe_dump(document), encoding="ascii")
    return folder


def submission(folder: Path, code: str = HONEST, name: str = "predict.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(code, encoding="utf-8")
    return folder


def notebook(*cells: str) -> str:
    return json.dumps(
        {"cells": [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
                  + [{"cell_type": "markdown", "source": "1 +"}]}
    )  # fmt: skip

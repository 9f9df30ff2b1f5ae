"""`make plan`: simulates the scale plan, prints it, and writes its page and picture."""

from __future__ import annotations

import sys
from pathlib import Path

from readingroom.domain.errors import ReadingRoomError
from tests.bench.scale.page import PICTURE, page, picture, runs_of
from tests.bench.scale.plan import plan_from

HERE = Path(__file__).parent


def made() -> dict[str, str]:
    """The files of the page by name, as the plan gives them now."""
    plan = plan_from()
    runs = runs_of(plan)
    return {"README.md": page(plan, runs), PICTURE: picture(runs)}


if __name__ == "__main__":
    try:
        files = made()
    except ReadingRoomError as error:
        sys.exit(str(error))
    for name, text in files.items():
        (HERE / name).write_text(text, encoding="utf-8")
    print(files["README.md"].partition("## What was put in")[0])  # noqa: T201 (what the command is for)

"""The rules of `tests/conftest.py`, tried with pytest itself, in one process and over workers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
RUNS = "import pytest\n\ndef test_it():\n    pass\n"
SKIPS = {
    "test_call": "import pytest\n\ndef test_it():\n    pytest.skip('not today')\n",
    "test_mark": "import pytest\n\n@pytest.mark.skip(reason='not today')\ndef test_it():\n    pass\n",
    "test_fixture": "import pytest\n\n@pytest.fixture\ndef f():\n    pytest.skip('not today')\n\ndef test_it(f):\n    pass\n",
    "test_module": "import pytest\n\npytest.skip('not today', allow_module_level=True)\n",
    "test_library": "import pytest\n\npytest.importorskip('no_such_library', reason='not today')\n",
}
OTHERS = {
    "test_ordinary": RUNS,
    "test_scanner": "import pytest\n\n@pytest.mark.not_here('needs a scanner')\ndef test_it():\n    raise AssertionError\n",
}
WORKERS = pytest.mark.parametrize("how", [[], ["-n", "2", "--dist", "loadfile"]], ids=["one process", "two workers"])


def pytest_over(folder: Path, files: dict[str, str], *how: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder / "conftest.py")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: over ten seconds\n")
    command = [sys.executable, "-m", "pytest", "-q", *how, folder]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@WORKERS
def test_every_kind_of_skip_fails_the_run_and_is_named(tmp_path: Path, how: list[str]) -> None:
    done = pytest_over(tmp_path, {**SKIPS, **OTHERS}, *how)
    assert done.returncode == 1, done.stdout
    named = [line for line in done.stdout.splitlines() if line.startswith("skipped in silence, which fails the run: ")]
    assert [name for name in SKIPS if not any(f"{name}.py" in line and "not today" in line for line in named)] == []
    assert len(named) == len(SKIPS)


@WORKERS
def test_a_test_that_cannot_run_here_is_named_with_its_reason_and_fails_nothing(tmp_path: Path, how: list[str]) -> None:
    done = pytest_over(tmp_path, OTHERS, *how)
    assert done.returncode == 0, done.stdout
    assert "not on this machine: test_scanner.py::test_it: needs a scanner" in done.stdout.splitlines()
    assert "silence" not in done.stdout


def test_what_takes_longest_begins_first(tmp_path: Path) -> None:
    files = {
        **dict.fromkeys((f"test_{letter}" for letter in "abcdefgh"), RUNS),
        "test_long": f"{RUNS}\ntest_it = pytest.mark.slow(test_it)\n",
    }
    done = pytest_over(tmp_path, files, "--collect-only", "-p", "no:randomly")
    assert done.stdout.startswith("test_long.py::test_it\n")

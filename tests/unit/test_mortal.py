"""What tests start ends with them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

CODE = """
import subprocess, time
from tests.mortal import mortal
print(subprocess.Popen(mortal(["sleep", "300"])).pid, flush=True)
time.sleep(300)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_server_ends_with_the_test_run_that_was_killed() -> None:
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True, cwd=root) as run:
        assert run.stdout is not None
        server = int(run.stdout.readline())
        program = Path(f"/proc/{server}/comm")
        until = time.monotonic() + 60
        while program.read_text().strip() != "sleep":  # until setpriv has made the bond
            assert time.monotonic() < until
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    while alive(server):
        assert time.monotonic() < until
        time.sleep(0.01)

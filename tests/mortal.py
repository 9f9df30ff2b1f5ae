"""Processes of a test end with the process that started them, also when that one is killed, as a worker is by Ctrl-C."""

from __future__ import annotations


def mortal(command: list[str], signal: str = "KILL") -> list[str]:
    """The command, so that it gets this signal when the thread that starts it is no more."""
    return ["setpriv", "--pdeathsig", signal, *command]

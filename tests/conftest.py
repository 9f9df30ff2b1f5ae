"""Rules for every test: nothing is skipped in silence.

A test that cannot run on this machine is marked `not_here("reason")`; it is then named, with the reason, in the closing
lines. Any other skip fails the run.
"""

from __future__ import annotations

import pytest

_skipped: list[str] = []
_not_here: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "not_here(reason): cannot run on this machine, for this reason")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if marker := item.get_closest_marker("not_here"):
            _not_here.append(f"{item.nodeid}: {marker.args[0]}")
            item.add_marker(pytest.mark.skip(reason=marker.args[0]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not any(line.startswith(f"{report.nodeid}: ") for line in _not_here):
        _skipped.append(f"{report.nodeid}: {report.longrepr}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _skipped:
        terminalreporter.write_line(f"skipped in silence, which fails the run: {line}", red=True)
    for line in _not_here:
        terminalreporter.write_line(f"not on this machine: {line}")

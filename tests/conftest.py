"""Rules for every test: nothing is skipped in silence, and what takes longest begins first.

A test that cannot run on this machine is marked `not_here("reason")`; it is then named, with the reason, in the closing
lines. Any other skip fails the run, a whole module's too. This holds alike where workers run the tests (`pytest -n`): what a
report says travels with it. Properties are searched anew on each run at a desk and the same way each time in CI, so that a
change is judged by what it changes; a loaded machine is no failure.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "readingroom",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
hypothesis.settings.load_profile("readingroom")

NOT_HERE = "not_here"
_silent: set[str] = set()
_not_here: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{NOT_HERE}(reason): cannot run on this machine, for this reason")


@pytest.hookimpl(trylast=True)  # after the order was drawn
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if marker := item.get_closest_marker(NOT_HERE):
            item.user_properties.append((NOT_HERE, marker.args[0]))
            item.add_marker(pytest.mark.skip(reason=marker.args[0]))
    # Files are handed out in this order: a long one at the end would leave the other workers idle.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        reason = dict(report.user_properties).get(NOT_HERE)
        found = _silent if reason is None else _not_here
        found.add(f"{report.nodeid}: {report.longrepr if reason is None else reason}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _silent.add(f"{report.nodeid}: {report.longrepr}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _silent:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in sorted(_silent):
        terminalreporter.write_line(f"skipped in silence, which fails the run: {line}", red=True)
    for line in sorted(_not_here):
        terminalreporter.write_line(f"not on this machine: {line}")

"""How the portal's process starts, what it does to its clients, and what it says when it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from readingroom.adapters.leaf import new_rsa_key
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.people import Membership, Role
from readingroom.entrypoints import settings
from readingroom.entrypoints.web.entries import entry
from tests.portal import PROJECTS, Site
from tests.ports import free_port
from tests.unit.portal.hub import Hub


@pytest.fixture(scope="module")
def second() -> Iterator[Site]:
    """A portal that these tests may stop, start and break."""
    found = Site("second")
    try:
        yield found
    finally:
        found.remove()


def clients(site: Site) -> list[str]:
    return site.sql("SELECT id FROM allauth_idp_oidc_client ORDER BY id").split()


def test_clients_are_exactly_the_projects_at_each_start(second: Site) -> None:
    second.projects = PROJECTS
    second.start()
    assert clients(second) == ["hub-demo", "hub-ended", "hub-other"]
    visitor, _, _ = second.proven("demo:researcher", "other:researcher")
    demo, other = Hub(second), Hub(second, "other")
    mine, theirs = demo.tokens(visitor), other.tokens(visitor)
    second.stop()
    second.projects = PROJECTS[:1]
    (second.folder / "oidc-demo").write_text("n" * 64)
    second.start()
    assert clients(second) == ["hub-demo"]
    assert demo.who(mine["access_token"]).status == 200
    assert demo.refresh(mine["refresh_token"]).status == 401
    assert demo.refresh(mine["refresh_token"], client_secret="n" * 64).status == 200
    assert other.who(theirs["access_token"]).status == 401
    assert visitor.ask(other.path()).status == 400
    kept = second.sql("SELECT secret FROM allauth_idp_oidc_client")
    second.stop()
    second.start()
    assert second.sql("SELECT secret FROM allauth_idp_oidc_client") == kept
    assert visitor.ask("/").status == 200
    second.stop()
    (second.folder / "oidc-demo").write_text(second.secrets["oidc-demo"])


def test_health_says_whether_the_database_answers(second: Site) -> None:
    second.start()
    try:
        assert second.visitor().ask("/health").status == 200
        visitor, _, _ = second.proven("demo:researcher")
        second.postgres.sql("postgres", "ALTER DATABASE second ALLOW_CONNECTIONS false")
        second.postgres.sql(
            "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'second'"
        )
        assert second.visitor().ask("/health").status == 503
        broken = visitor.ask("/")
        assert (broken.status, broken.heading) == (500, "The portal could not do this")
        assert "default-src 'none'" in broken.headers["Content-Security-Policy"]
        assert "second" not in broken.text
    finally:
        second.postgres.sql("postgres", "ALTER DATABASE second ALLOW_CONNECTIONS true")
    try:
        assert visitor.ask("/").status == 200
    finally:
        second.stop()


def start(second: Site, **changed: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    command = [sys.executable, "-m", "readingroom.entrypoints.portal"]
    environment = {**second.environment, **changed}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", ["django_secret_key", "oidc_private_key", "oidc-demo"])
def test_without_a_secret_it_does_not_start_and_says_which(second: Site, name: str) -> None:
    (second.folder / "projects.json").write_text('{"projects": [{"id": "demo", "title": "x"}]}')
    file = second.folder / name
    kept = file.read_text()
    try:
        for content in ("", "short"):
            file.write_text(content)
            done = start(second)
            assert done.returncode == 1
            assert f"wrong set-up: a secret of the portal: {name};" in done.stdout
            assert "Traceback" not in done.stdout + done.stderr
    finally:
        file.write_text(kept)


@pytest.mark.parametrize(
    "text", ['{"projects": [{"id": "demo", "titel": "x"}]}', "{}", "[]", '{"projects": [{"id": "X", "title": "x"}]}']
)
def test_a_list_of_projects_with_an_unknown_key_stops_it(second: Site, text: str) -> None:
    (second.folder / "projects.json").write_text(text)
    done = start(second)
    assert done.returncode == 1
    assert "RR_PROJECTS" in done.stdout


def test_two_that_start_at_once_do_not_meet(second: Site) -> None:
    """Both bring the tables up to date; the second waits for the first, and then finds the port taken."""
    fresh = Site("third")
    try:
        twin = Site.__new__(Site)
        twin.__dict__ = {**fresh.__dict__, "port": fresh.port, "log": fresh.folder / "log-of-twin"}
        twin.port = free_port()
        for each in (fresh, twin):
            each.launch()
        for each in (fresh, twin):
            each.wait()
        assert clients(fresh) == ["hub-demo", "hub-ended", "hub-other"]
        twin.stop()
    finally:
        fresh.remove()


def test_the_settings_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "projects.json").write_text(
        '{"projects": [{"id": "demo", "title": "T", "may": ["a"], "ends": "2027-01-02"}]}'
    )
    (tmp_path / "oidc_private_key").write_text(new_rsa_key().reveal())
    found = settings.portal({"RR_PROJECTS": str(tmp_path / "projects.json"), "RR_SECRETS": str(tmp_path)})
    assert found.projects == (settings.PortalProject(id="demo", title="T", may=("a",), ends=date(2027, 1, 2)),)
    assert found.listen == "0.0.0.0:8443"
    assert found.secret("oidc_private_key").startswith("-----BEGIN")
    with pytest.raises(WrongSetUp, match="RR_DATABASE_PORT"):
        settings.database({"RR_DATABASE_PORT": "x"})
    assert replace(found, listen="x").listen == "x"


@pytest.mark.parametrize(("today", "left", "over"), [(date(2027, 1, 2), 0, False), (date(2027, 1, 3), None, True)])
def test_a_project_is_over_on_the_day_after_its_last(today: date, left: int | None, over: bool) -> None:
    project = settings.PortalProject(id="demo", title="T", may=("a",), ends=date(2027, 1, 2))
    found = entry(project, {Membership("demo", Role.RESEARCHER), Membership("other", Role.AUDITOR)}, today)
    assert (found.days_left, found.over) == (left, over)
    assert found.hub == ("" if over else "https://demo.workspace.localhost:8443/")
    assert found.roles == ("Researcher",)


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.RESEARCHER}))
def test_no_other_role_is_offered_a_hub(role: Role) -> None:
    project = settings.PortalProject(id="demo", title="T", may=("a",))
    found = entry(project, {Membership("demo", role)}, date(2027, 1, 2))
    assert (found.hub, found.may, len(found.roles)) == ("", (), 1)

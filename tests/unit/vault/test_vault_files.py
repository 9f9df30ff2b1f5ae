"""Files that say what Vault must be like: read whole, an unknown key or a key given twice is refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from readingroom import contract
from readingroom.adapters import vault_files
from readingroom.domain.errors import WrongSetUp
from readingroom.domain.vault_plan import Project
from readingroom.entrypoints import settings
from tests.unit.vault.definitions import FOLDER, SCHEMA, shipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(FOLDER, tmp_path / "vault")
    return tmp_path / "vault"


def test_the_shipped_definition_is_read_whole(folder: Path) -> None:
    found = vault_files.definition(folder, SCHEMA)
    assert found == shipped()
    assert set(found.policies) == {file.stem for file in FOLDER.glob("*.hcl")}
    assert {"configure-vault", "hub-${project}"} < set(found.roles)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("seconds: 300", "secunds: 300", "secunds"),
        ("seconds: 300", "seconds: 86400", "86400 is greater than the maximum"),
        ("seconds: 300", 'seconds: "300"', "is not of type 'integer'"),
        ("seconds: 300", "seconds: 300\n    seconds: 600", "a key stands twice"),
        ("namespace: p-${project}-hub", "namespace: default", "does not match"),
        ("namespace: p-${project}-hub", "namespace: p-${project}-ws", "does not match"),
        ("account: hub", 'account: "*"', "does not match"),
        ("policy: hub", "policy: ../hub", "does not match"),
        ("  hub-${project}:", "  hub-${other}:", "does not match"),
        ('"${project}.workspace.localhost"', '"*.workspace.localhost"', "does not match"),
        ("use: client", "use: both", "is not one of"),
        ("cookie_secret: hex32", "cookie_secret: word", "is not one of"),
        ("projects/${project}/hub:", "projects/demo/hub:", "does not match"),
        ("uses: 8", "uses: 0", "less than the minimum"),
        ("seeds:", "more: {}\nseeds:", "more"),
        ("seeds:", "seed:", "seed"),
        ("roles:", "roles: [", "cannot be parsed"),
        ("roles:", "- roles:", "cannot be parsed"),
    ],
)
def test_roles_that_are_off_are_refused_by_name(folder: Path, old: str, new: str, why: str) -> None:
    file = folder / "roles.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(WrongSetUp, match=rf"Vault's settings: roles\.yaml; .*{why}"):
        vault_files.definition(folder, SCHEMA)


@pytest.mark.parametrize("content", [None, b"\xff", b"", b"[]", b"3"])
def test_files_that_are_absent_or_no_table_are_refused_by_name(folder: Path, content: bytes | None) -> None:
    (folder / "roles.yaml").unlink()
    if content is not None:
        (folder / "roles.yaml").write_bytes(content)
    with pytest.raises(WrongSetUp, match=r"roles\.yaml; it (cannot be read|is no table)"):
        vault_files.definition(folder, SCHEMA)


def test_projects_are_read(tmp_path: Path) -> None:
    (tmp_path / "projects.json").write_text('{"projects": [{"id": "lung-ct", "phase": "open"}]}')
    assert vault_files.projects(tmp_path / "projects.json") == [Project(id="lung-ct", phase="open")]


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", '{"projects": 3}', '{"projects": [3]}', '{"projects": [{"id": "x"}]}',
        '{"projects": [{"id": "x", "phase": "open", "more": 1}]}', '{"projects": [], "more": 1}',
        '{"projects": [], "projects": []}', '{"projects": [{"id": "a", "id": "b", "phase": "open"}]}', "{",
    ],
)  # fmt: skip
def test_projects_that_are_off_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "projects.json").write_text(text)
    with pytest.raises(WrongSetUp, match=r"projects\.json"):
        vault_files.projects(tmp_path / "projects.json")


class TestSettings:
    def test_the_defaults_are_those_of_a_pod(self) -> None:
        found = settings.vault({})
        assert found.address == "https://10.96.0.20:8200"
        assert found.authority == contract.VAULT_CA_PATH
        assert str(found.token_file) == contract.VAULT_TOKEN_PATH
        assert found.pod_range == contract.POD_RANGE

    def test_a_token_is_sent_over_https_only(self) -> None:
        for address in ("http://10.96.0.20:8200", "10.96.0.20:8200", "ftp://x"):
            with pytest.raises(WrongSetUp, match="RR_VAULT_ADDRESS; a token is sent over https only"):
                settings.vault({"RR_VAULT_ADDRESS": address})

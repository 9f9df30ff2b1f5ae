"""What the recipes and locks of this checkout promise: nothing floats, nothing runs as root, nothing is older than allowed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from images import debian, recipe, wheels
from readingroom import contract
from readingroom.domain.errors import WrongSetUp

RECIPES = recipe.load_all()
IMAGES = [one for one in RECIPES.values() if not one.part]
PIN = re.compile(r"^([a-z0-9._-]+)==([^ \\]+)", re.MULTILINE)


def versions(name: str) -> dict[str, str]:
    """Locked version of each Python or npm package of an image."""
    one = RECIPES[name]
    if one.node:
        lock = json.loads((one.home / "package-lock.json").read_text())
        return {path.rsplit("node_modules/", 1)[-1]: said["version"] for path, said in lock["packages"].items() if path}
    return dict(PIN.findall(wheels.requirements(one)))


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def test_every_image_of_the_contract_has_a_recipe_and_there_are_no_others() -> None:
    assert {one.name for one in IMAGES} == set(contract.IMAGES)


def test_a_part_comes_before_what_stands_on_it() -> None:
    names = list(RECIPES)
    assert all(names.index(one.stands_on) < names.index(one.name) for one in RECIPES.values() if one.stands_on)


@pytest.mark.parametrize("one", IMAGES, ids=lambda one: str(one.name))
def test_no_image_runs_as_root(one: recipe.Recipe) -> None:
    wanted = contract.WORKSPACE_UID if one.name.startswith("workspace") else contract.SERVICE_UID
    assert one.run.user == f"{wanted}:{wanted}"


@pytest.mark.parametrize("one", [one for one in RECIPES.values() if one.packages], ids=lambda one: str(one.name))
def test_every_debian_package_asked_for_is_locked_with_its_hash(one: recipe.Recipe) -> None:
    pins = debian.read_lock(one.home / "packages.lock")
    assert set(one.packages) <= {pin.name for pin in pins}
    assert all(re.fullmatch("[0-9a-f]{64}", pin.sha256) for pin in pins)
    assert (one.home / "packages.lock").read_text() == debian.lock_text(pins)


@pytest.mark.parametrize("one", [one for one in RECIPES.values() if one.wheels], ids=lambda one: str(one.name))
def test_every_python_package_is_locked_with_its_hash(one: recipe.Recipe) -> None:
    text = wheels.requirements(one)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    assert all("==" in line and "--hash=sha256:" in line for line in lines)
    assert "://" not in text  # no place is prescribed: this machine's index serves them


def test_every_npm_package_is_locked_with_its_hash_and_no_place() -> None:
    lock = json.loads((RECIPES["proxy"].home / "package-lock.json").read_text())
    packages = [said for path, said in lock["packages"].items() if path]
    assert packages
    assert all(said["integrity"].startswith("sha512-") and "resolved" not in said for said in packages)


def test_nothing_is_older_than_its_floor() -> None:
    floors = yaml.safe_load((recipe.HERE / "floors.yaml").read_text())
    old = {
        (image, name): versions(image)[name]
        for image, packages in floors.items()
        for name, floor in packages.items()
        if number(versions(image)[name]) < number(floor)
    }
    assert old == {}


def test_hub_and_workspace_speak_the_same_jupyterhub() -> None:
    assert versions("workspace-cpu")["jupyterhub"] == versions("hub")["jupyterhub"]


def test_workspace_and_deidentifier_read_dicom_alike() -> None:
    assert versions("workspace-cpu")["pydicom"] == versions("services")["pydicom"]


def test_the_hub_holds_nothing_that_reads_images_or_asks_vault() -> None:
    assert not {"pydicom", "numpy", "pyarrow", "pylibjpeg", "pyjpegls", "hvac"} & set(versions("hub"))


def test_a_workspace_holds_nothing_of_the_platform() -> None:
    one = RECIPES["workspace-cpu"]
    assert not any(
        source.startswith(("images/services", "hub_config", "infra", "policies")) for source in one.copy.values()
    )
    assert not {"readingroom", "hvac", "kubernetes", "kubernetes-asyncio", "jupyter-server-proxy"} & set(
        versions(one.name)
    )


@pytest.fixture
def recipes_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipe, "HERE", tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "image.toml").write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        'summary = "an image of some kind"\nprivileged = true',
        'summary = "short"',
        "go = true",
        'summary = "an image of some kind"\n[run]\nuser = "root"',
        'summary = "an image of some kind"\n[copy]\n"/etc/passwd" = "README.md"',
        'summary = "an image of some kind"\n[wheels]\nlock = "requirements.lock"\nextra = "hub"',
        "summary =",
    ],
)
def test_a_recipe_that_is_not_understood_is_refused_with_its_name(recipes_in: Path, text: str) -> None:
    write(recipes_in, "odd", text)
    with pytest.raises(WrongSetUp, match="odd"):
        recipe.load_all()


def test_recipes_that_stand_on_each_other_are_refused(recipes_in: Path) -> None:
    write(recipes_in, "one", 'summary = "an image of some kind"\nstands_on = "two"')
    write(recipes_in, "two", 'summary = "an image of some kind"\nstands_on = "one"')
    with pytest.raises(WrongSetUp, match="stands on"):
        recipe.load_all()


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSetUp, match="gone"):
        recipe.source_files(tmp_path / "gone")


def test_a_lock_line_without_a_hash_is_refused(tmp_path: Path) -> None:
    (tmp_path / "packages.lock").write_text("bash=5.2\n")
    with pytest.raises(WrongSetUp, match="bash"):
        debian.read_lock(tmp_path / "packages.lock")


def test_scripts_lose_their_hash_in_a_record_and_modules_keep_it() -> None:
    record = "../../../bin/tool,sha256=abc,12\ntool/__init__.py,sha256=def,3\n"
    assert wheels._without_scripts(record) == "../../../bin/tool,,\ntool/__init__.py,sha256=def,3\n"

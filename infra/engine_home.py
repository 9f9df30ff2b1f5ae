"""The folder the engine works in: its state, passphrase, and the two programs it finds on its PATH.

The official Kubernetes plugin serves wherever it is installed; ours stands in where it is not. Which of the two made a
stack is written down, because the other one would not know its field manager: a switch in mid-life is refused.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra import places
from infra.node.build import binary
from infra.provider.server import VERSION
from readingroom.domain.errors import WrongSetUp

PROJECT: Final = "readingroom"
_PLUGIN: Final = "pulumi-resource-kubernetes"


@dataclass(frozen=True)
class Home:
    """Everything below one folder, 0700."""

    root: Path

    @classmethod
    def here(cls) -> Home:
        """The one of this machine's user."""
        return cls(places.state("pulumi"))

    @property
    def work(self) -> Path:
        """`Pulumi.yaml` and one settings file per stack, with the salt of its secrets."""
        return self.root / "work"

    @property
    def own(self) -> Path:
        """PULUMI_HOME: apart from the user's, so that no plugin or login of theirs changes a run."""
        return self.root / "home"

    @property
    def states(self) -> Path:
        """One file per stack."""
        return self.root / "backend" / ".pulumi" / "stacks" / PROJECT

    def locks(self, stack: str) -> Path:
        """Where an engine at work leaves its lock."""
        return self.root / "backend" / ".pulumi" / "locks" / "organization" / PROJECT / stack

    def prepare(self, stack: str) -> None:
        """Make what is missing; leave what is there. Raises `WrongSetUp` if the stack was made by the other plugin."""
        for folder in (self.root, self.work, self.own, self.root / "backend", self.root / "bin"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_once(self._passphrase, secrets.token_hex(32))
        _write_once(self.work / "Pulumi.yaml", f"name: {PROJECT}\nruntime: python\n")
        # A resource without an explicit provider would ask whatever cluster the environment names.
        _write_once(self.work / f"Pulumi.{stack}.yaml", 'config:\n  pulumi:disable-default-providers: ["*"]\n')
        _link(self.root / "bin" / "pulumi", binary("pulumi"))
        self._choose_plugin(stack)

    def environment(self) -> dict[str, str]:
        """What the engine is told beside its arguments: no network, no updates, this state, this passphrase."""
        return {
            "PULUMI_BACKEND_URL": f"file://{self.root / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self._passphrase),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        }

    def served_by(self, stack: str) -> str:
        """`official` or `offline`; empty for a stack that was never made."""
        mark = self._mark(stack)
        return mark.read_text().strip() if mark.is_file() else ""

    def forget(self, stack: str) -> None:
        """The stack is gone: so are its settings and the mark of its plugin."""
        (self.work / f"Pulumi.{stack}.yaml").unlink(missing_ok=True)
        self._mark(stack).unlink(missing_ok=True)

    @property
    def _passphrase(self) -> Path:
        return self.root / "passphrase"

    def _mark(self, stack: str) -> Path:
        return self.work / f"{stack}.plugin"

    def _choose_plugin(self, stack: str) -> None:
        official = official_plugin()
        serves = "official" if official else "offline"
        before = self.served_by(stack)
        if before and before != serves:
            raise WrongSetUp(
                what=f"stack {stack}",
                which=f"made with the {before} Kubernetes plugin",
                why=f"the {serves} one would serve it now",
                next_step=f"put the {before} plugin back, or take the stack down with it first",
            )
        launcher = self.root / "bin" / _PLUGIN
        if official:
            _link(launcher, official)
        else:
            text = f'#!/bin/sh\nPYTHONPATH="{places.CHECKOUT}" exec "{sys.executable}" -P -m infra.provider "$@"\n'
            if launcher.is_symlink() or not launcher.is_file() or launcher.read_text() != text:
                _replace(launcher, text)
        _write_once(self._mark(stack), f"{serves}\n")


def official_plugin() -> Path | None:
    """The official plugin of our version, in the user's plugin folder or on PATH; `None` if there is none."""
    installed = Path.home() / ".pulumi" / "plugins" / f"resource-kubernetes-v{VERSION}" / _PLUGIN
    if installed.is_file():
        return installed
    found = shutil.which(_PLUGIN)
    return Path(found) if found else None


def _write_once(path: Path, text: str) -> None:
    """A file of ours, 0600 from its first moment; one that is there is kept."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _replace(path: Path, text: str) -> None:
    """A whole program or none, whoever else starts it meanwhile."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text)
    fresh.chmod(0o700)
    fresh.replace(path)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(path)

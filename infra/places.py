"""Where things lie on this machine: the only reader of the XDG variables.

Caches may be thrown away at any time; state may not: it holds keys and data, and is 0700.
"""

from __future__ import annotations

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def cache(*parts: str) -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/readingroom/…`; the folder is not created."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").joinpath("readingroom", *parts)


def state(*parts: str) -> Path:
    """`${XDG_STATE_HOME:-~/.local/state}/readingroom/…`; the folder is not created."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state").joinpath("readingroom", *parts)


def volume(name: str) -> Path:
    """The folder behind the `local` persistent volume of that name."""
    return state("volumes", name)


OPERATOR_KUBECONFIG = "operator.kubeconfig"  # in state(): break-glass, the whole cluster
DEPLOYER_KUBECONFIG = "deployer.kubeconfig"  # in state(): what `platform up` uses, group readingroom:deployer

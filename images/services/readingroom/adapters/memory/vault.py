"""Vault kept in memory: the fakes that keep the contracts of `application.ports_vault.Vault` and `VaultSeal`.

An engine is there once its mount was written; kv v2 counts versions and holds `cas`; anything else is a document that
reads back as it was written. Rights are a question asked for each call; without one everything is allowed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

from readingroom.application.ports_vault import (
    Document,
    FirstKeys,
    SealState,
    SecretText,
    VaultRefused,
    VaultUnavailable,
)

SYSTEM = ("sys/", "auth/")


class MemoryVault:
    """Nothing survives the process."""

    def __init__(self, may: Callable[[str, str], bool] | None = None) -> None:
        self.sealed = False
        self._may = may
        self._documents: dict[str, dict[str, object]] = {}

    def read(self, path: str) -> Document | None:
        """The document at `path`, or None."""
        self._check("read", path)
        if path in {"sys/mounts", "sys/auth", "sys/audit"}:
            return {f"{name}/": self._documents[f"{path}/{name}"] for name in self._under(path)}
        return copy.deepcopy(self._documents.get(path))

    def write(self, path: str, document: Document) -> Document:
        """Keeps a document. A kv document sent with another `cas` than its version is refused."""
        self._check("write", path)
        engine, _, rest = path.partition("/data/")
        if rest and self._is_kv(engine):
            return self._put_secret(engine, rest, document)
        self._documents[path] = copy.deepcopy({**self._documents.get(path, {}), **document})
        return {}

    def names(self, path: str) -> Sequence[str]:
        """What lies directly under `path`, sorted; a folder ends in a stroke."""
        self._check("list", path)
        return self._under(path)

    def forget(self, path: str) -> None:
        """Removes the document at `path`."""
        self._check("delete", path)
        engine, _, rest = path.partition("/metadata/")
        self._documents.pop(path, None)
        if rest and self._is_kv(engine):
            self._documents.pop(f"{engine}/data/{rest}", None)

    def _put_secret(self, engine: str, rest: str, document: Document) -> Document:
        metadata = self._documents.setdefault(f"{engine}/metadata/{rest}", {"current_version": 0})
        version = metadata["current_version"]
        options = document.get("options") or {}
        if options.get("cas") != version or not isinstance(version, int):
            raise _refused(f"{engine}/data/{rest}", "the version is another than was said")
        metadata["current_version"] = version + 1
        kept = {"data": copy.deepcopy(document["data"]), "metadata": {"version": version + 1}}
        self._documents[f"{engine}/data/{rest}"] = kept
        return {"version": version + 1}

    def _under(self, path: str) -> list[str]:
        found = [
            each.removeprefix(f"{path}/").partition("/") for each in self._documents if each.startswith(f"{path}/")
        ]
        return sorted({name + stroke for name, stroke, _ in found})

    def _is_kv(self, engine: str) -> bool:
        return self._documents.get(f"sys/mounts/{engine}", {}).get("type") == "kv"

    def _check(self, verb: str, path: str) -> None:
        if self.sealed:
            raise VaultUnavailable(what="Vault does not answer", which=path, why="it is sealed", next_step="wait")
        if self._may and not self._may(verb, path):
            raise _refused(path, "permission denied")
        if not path.startswith(SYSTEM) and f"sys/mounts/{path.partition('/')[0]}" not in self._documents:
            raise _refused(path, "no engine is there")


class MemorySeal:
    """A Vault that is born empty and sealed, with one share for its whole life. `roots` are the root tokens that live."""

    def __init__(self, vault: MemoryVault, share: str = "c2hhcmU=") -> None:
        vault.sealed = True
        self.roots: set[int] = set()
        self._vault, self._share = vault, SecretText(share)
        self._initialised = False

    def state(self) -> SealState:
        """Whether it is initialised and sealed."""
        return SealState(initialised=self._initialised, sealed=self._vault.sealed)

    def initialise(self) -> FirstKeys:
        """The only share and the first root token, once."""
        if self._initialised:
            raise _refused("sys/init", "it is initialised")
        self._initialised = True
        self.roots.add(0)
        return FirstKeys(share=self._share, root=SecretText("first-root"))

    def unseal(self, share: SecretText) -> None:
        """Opens with the right share."""
        if share != self._share:
            raise _refused("sys/unseal", "the share is wrong")
        self._vault.sealed = False

    def break_glass(self, share: SecretText) -> MemoryRoot:
        """A root session made from the share."""
        if share != self._share:
            raise _refused("sys/generate-root/update", "the share is wrong")
        return MemoryRoot(self._vault, self.roots)


class MemoryRoot:
    """The port `RootSession`."""

    def __init__(self, vault: MemoryVault, roots: set[int]) -> None:
        self._own, self._roots = max(roots, default=0) + 1, roots
        self.read, self.write, self.names, self.forget = vault.read, vault.write, vault.names, vault.forget
        roots.add(self._own)

    def end_other_roots(self) -> None:
        """Ends every other root token."""
        self._roots &= {self._own}

    def revoke(self) -> None:
        """Ends the token."""
        self._roots.discard(self._own)


def _refused(path: str, why: str) -> VaultRefused:
    return VaultRefused(
        what="Vault refuses", which=path, why=why, next_step="compare policies/vault with what was asked"
    )

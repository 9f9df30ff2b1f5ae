"""Runs a program of ours with the real Pulumi engine: inline, state in a folder, no account, nothing downloaded.

The engine calls back into this process, so no language host is needed. The stack's state lies in the state folder, 0700,
its secrets under a passphrase of its own; the deployer's kubeconfig is given by path, so no credential reaches the state.
Every run refreshes first: what somebody changed by hand is put back, or named where it belongs to somebody else.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import click
from pulumi import automation
from pulumi.automation import errors as automation_errors

from infra import places
from infra.engine_home import Home
from infra.engine_lines import Lines
from infra.engine_loops import Loops, hush
from infra.provider.api import Api
from infra.provider.errors import ApiRefusal, ProviderError
from readingroom.domain.errors import ReadingRoomError, TryAgain, WrongSetUp

Program = Callable[[], None]
OnLine = Callable[[str], None]
STACK: Final = re.compile(r"[a-z][a-z0-9-]{0,38}[a-z0-9]")
_LOCK_WAIT: Final = 30.0  # an engine that was interrupted writes its state before it goes
_PARALLEL: Final = 16


@dataclass(frozen=True)
class Outcome:
    """What a run ended with: how many resources each operation met (`create`, `same`, …)."""

    changes: Mapping[str, int] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """How many resources are no longer as they were."""
        return sum(count for operation, count in self.changes.items() if operation not in {"same", "read"})


def up(stack: str, program: Program, on_line: OnLine = click.echo, *, take_back: bool = False) -> Outcome:
    """Make the cluster what the program says, and wait until it is ready.

    `take_back` overrules other managers of our fields and removes what they added. Raises `WrongSetUp` with the first
    reason (all are told to `on_line`), `TryAgain` if the cluster or another run is in the way.
    """
    with _run(stack, program, on_line, "up", take_back=take_back) as (handle, lines):
        handle.up(refresh=True, parallel=_PARALLEL, color="never", on_event=lines.hear, show_secrets=False)
        return Outcome(lines.changes)


def preview(stack: str, program: Program, on_line: OnLine = click.echo) -> Outcome:
    """What `up` would do, asked of the cluster as dry runs. Raises as `up` does."""
    with _run(stack, program, on_line, "preview") as (handle, lines):
        handle.preview(refresh=True, parallel=_PARALLEL, color="never", on_event=lines.hear)
        return Outcome(lines.changes)


def down(stack: str, on_line: OnLine = click.echo) -> Outcome:
    """Delete everything the stack made, then its state. A stack that is not there is down. Raises as `up` does."""
    if stack not in stacks():
        return Outcome()
    with _run(stack, _nothing, on_line, "down") as (handle, lines):
        handle.destroy(parallel=_PARALLEL, color="never", on_event=lines.hear, show_secrets=False, remove=True)
        Home.here().forget(stack)
        return Outcome(lines.changes)


def stacks() -> list[str]:
    """The stacks that have state on this machine."""
    return sorted(file.stem for file in Home.here().states.glob("*.json"))


def resources(stack: str) -> list[dict[str, Any]]:
    """What the engine knows the stack to have made, marked values in clear; empty if there is no such stack."""
    if stack not in stacks():
        return []
    deployment = _select(stack, _nothing, {}).export_stack().deployment or {}
    found: list[dict[str, Any]] = deployment.get("resources") or []
    return found


def export(stack: str) -> dict[str, Any]:
    """The stack's whole state as it lies on the disk, marked values encrypted. Empty if there is no such stack."""
    if stack not in stacks():
        return {}
    workspace = _select(stack, _nothing, {}).workspace
    told = workspace.pulumi_command.run(
        ["stack", "export", "--stack", stack],
        cwd=workspace.work_dir,
        additional_env={"PULUMI_HOME": str(Home.here().own), **workspace.env_vars},
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def _nothing() -> None:
    """A program without resources, for the verbs that need none."""


def check_cluster(what: str) -> None:
    """The node is up and takes our credentials. Raises `TryAgain` if not."""
    kubeconfig = places.state(places.DEPLOYER_KUBECONFIG)
    try:
        if not kubeconfig.is_file():
            raise ValueError("there is no deployer's kubeconfig")
        with Api.of(str(kubeconfig)) as api:
            api.raw("/version")
    except (ValueError, ProviderError) as error:
        denied = isinstance(error, ApiRefusal) and error.status in {401, 403}
        raise TryAgain(
            what=what,
            why="the cluster refuses the deployer's credentials" if denied else "the cluster is not running",
            next_step="readingroom node up",
        ) from error


class _Workspace(automation.LocalWorkspace):
    """The SDK's, which asks the engine twice for the program's outputs after each run. Ours has none."""

    def stack_outputs(self, stack_name: str) -> automation.OutputMap:
        return {}


@cache
def _command(root: Path) -> automation.PulumiCommand:
    """Found once a process: the SDK starts the engine to ask for its version."""
    return automation.PulumiCommand(root=str(root))


def _select(stack: str, program: Program, more: Mapping[str, str]) -> automation.Stack:
    home = Home.here()
    home.prepare(stack)
    workspace = _Workspace(
        work_dir=str(home.work),
        pulumi_home=str(home.own),
        pulumi_command=_command(home.root),
        program=program,
        secrets_provider="passphrase",
        env_vars={**home.environment(), **more},
    )
    return automation.Stack.create_or_select(stack, workspace)


@contextmanager
def _run(
    stack: str, program: Program, on_line: OnLine, verb: str, *, take_back: bool = False
) -> Iterator[tuple[automation.Stack, Lines]]:
    """One run of the engine; its errors become ours, the program's own refusals stay as they are."""
    what = f"platform {verb}"
    if not STACK.fullmatch(stack):
        raise WrongSetUp(what=what, which=repr(stack), why="this is no name of a stack", next_step="see --help")
    check_cluster(what)
    ours: list[ReadingRoomError] = []

    def guarded() -> None:
        try:
            program()
        except ReadingRoomError as error:
            ours.append(error)
            raise
        except Exception as error:  # the edge to the SDK, which would show a traceback
            why = f"{type(error).__name__}: {error}"
            defect = WrongSetUp(what=what, which=f"program of stack {stack}", why=why, next_step="report this defect")
            ours.append(defect)
            raise defect from error

    hush()
    lines, loops = Lines(on_line, planned=verb == "preview"), Loops()
    try:
        handle = _select(stack, loops.within(guarded), {"PULUMI_K8S_ENABLE_PATCH_FORCE": "true"} if take_back else {})
        _wait_for_lock(handle, stack, what)
        yield handle, lines
    except automation_errors.ConcurrentUpdateError as error:
        raise _busy(what, stack) from error
    except automation_errors.CommandError as error:
        if ours:
            raise ours[0] from error
        for line in lines.errors:
            on_line(f"! {line}")
        raise WrongSetUp(
            what=what,
            which=f"stack {stack}",
            why=lines.errors[0] if lines.errors else _last_line(str(error)),
            next_step="mend it and repeat the command; nothing that was made is lost",
        ) from error
    finally:
        loops.end()


def _last_line(text: str) -> str:
    """The engine's own `error:` line, else the last one it wrote."""
    found = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line.removeprefix("error:").strip() for line in found if line.startswith("error:")]
    return (told or found or ["the engine failed"])[-1][:400]


def _busy(what: str, stack: str) -> TryAgain:
    return TryAgain(
        what=what, which=f"stack {stack}", why="another run is at work on it", next_step="repeat when it is done"
    )


def _wait_for_lock(handle: automation.Stack, stack: str, what: str) -> None:
    """A lock whose engine is dead is lifted; a live engine is given time to end. Raises `TryAgain`."""
    deadline = time.monotonic() + _LOCK_WAIT
    while locks := list(Home.here().locks(stack).glob("*.json")):
        if not any(map(_is_held, locks)):
            handle.cancel()
            return
        if time.monotonic() > deadline:
            raise _busy(what, stack)
        time.sleep(0.5)


def _is_held(lock: Path) -> bool:
    try:
        pid = int(json.loads(lock.read_text())["pid"])
        return b"pulumi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError):
        return False

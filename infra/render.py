"""What a program declares, without cluster or engine: `python -m infra.render local | project GRANT` prints it as JSON.

The program runs against a stand-in for the engine that answers every declaration with its own inputs. Pulumi's stand-ins
are global, so a process renders one program; `readingroom platform render` starts one for each.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml

from infra import places
from infra.provider.compare import whole_numbers
from readingroom.domain.errors import ReadingRoomError, WrongSetUp

_SEPARATOR: Final = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True)
class Declared:
    """One resource: its manifest (empty for a component) and what must be there before it."""

    urn: str
    parent: str
    dependencies: tuple[str, ...]
    manifest: dict[str, Any]


def collect(program: Callable[[], None], stack: str) -> list[Declared]:
    """Run a program and note what it declares. Once per process."""
    import pulumi.runtime  # noqa: PLC0415 (slow, and `render` starts a process for it)
    from pulumi.runtime.mocks import MockMonitor  # noqa: PLC0415 (Pulumi is slow to import)
    from pulumi.runtime.stack import run_pulumi_func  # noqa: PLC0415 (Pulumi is slow to import)

    class Echo(pulumi.runtime.Mocks):
        """Every declaration comes true as it was made."""

        def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
            return args.name, args.inputs

        def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
            raise WrongSetUp(what="render", which=args.token, why="a program asks nobody", next_step="take it out")

    class Notes(MockMonitor):
        """Keeps each request beside its answer."""

        found: list[Declared]

        def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (the engine's word)
            register: Any = super().RegisterResource
            answer = register(request)
            if answer.urn in self.resources:
                inputs = self.resources[answer.urn].state if request.type.startswith("kubernetes:") else {}
                manifest = whole_numbers(inputs) if "kind" in inputs else {}
                self.found.append(Declared(answer.urn, request.parent, tuple(sorted(request.dependencies)), manifest))
            return answer

    echo = Echo()
    notes = Notes(echo)
    notes.found = []
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(echo, project="readingroom", stack=stack, monitor=notes)
    loop.run_until_complete(run_pulumi_func(program))
    return sorted(notes.found, key=lambda one: one.urn)


def render(stack: str, *words: str) -> list[Declared]:
    """`collect` in a process of its own. Raises `WrongSetUp` with that process's last words."""
    done = subprocess.run(
        [sys.executable, "-m", "infra.render", *words], cwd=places.CHECKOUT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = ([line for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"])[-1]
        raise WrongSetUp(
            what="platform render", which=f"stack {stack}", why=last[:400], next_step="mend the program or its inputs"
        )
    return [Declared(**{**one, "dependencies": tuple(one["dependencies"])}) for one in json.loads(done.stdout)]


def write(declared: Iterable[Declared], folder: Path) -> int:
    """One YAML file for each object, named so that a listing reads like one; the number of files."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for manifest in (one.manifest for one in declared if one.manifest):
        metadata = manifest["metadata"]
        words = (metadata.get("namespace", "cluster"), manifest["kind"], metadata["name"])
        name = "_".join(_SEPARATOR.sub("-", str(word).lower()) for word in words)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(manifest, sort_keys=True))
        count += 1
    return count


def main(words: list[str]) -> int:
    """`local`, or `project` and the path of a grant file."""
    try:
        if words[0] == "local":
            found = collect(import_module("infra.programs.platform").program, "local")
        else:
            grant = Path(words[1])
            program = import_module("infra.programs.project").program
            found = collect(lambda: program(grant), f"project-{grant.parent.name}")
    except ReadingRoomError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    json.dump([asdict(one) for one in found], sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Stack → program, for plain `pulumi up` where Pulumi and its Python language host are installed.

The stack `local` is the platform, `project-<id>` a project with its grant. The host's own part (volume folders, Vault's
certificate) is done first, exactly as `readingroom platform up` does it.
"""

from __future__ import annotations

import pulumi

from infra.cli import plans
from readingroom.domain.errors import WrongSetUp


def main(stack: str) -> None:
    """Run the program of one stack. Raises `WrongSetUp` if there is none of that name."""
    for plan in plans(stack.removeprefix("project-") if stack.startswith("project-") else ""):
        if plan.stack == stack:
            plan.prepare()
            plan.program()
            return
    raise WrongSetUp(
        what="pulumi up",
        which=f"stack {stack}",
        why="there is no program of that name",
        next_step="pulumi stack select local",
    )


main(pulumi.get_stack())

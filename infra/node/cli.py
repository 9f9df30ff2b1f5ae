"""`readingroom node …`: the embedded Kubernetes node for development, tests and the demo."""

from __future__ import annotations

import click

from infra import places
from infra.node import build as builder
from infra.node import launcher


@click.group()
def node() -> None:
    """A real Kubernetes node on this machine, for development, tests and the demo; never for patients' data."""


@node.command()
def build() -> None:
    """Compile the node's programs into the cache (about 20 minutes once, nothing after)."""
    for family in builder.FAMILIES:
        click.echo(builder.folder(family))


@node.command()
def up() -> None:
    """Start the node, or mend what is not running; repeated, it changes nothing."""
    launcher.up(click.echo)
    click.echo("the node is up")


@node.command()
@click.option("--remove-data", is_flag=True, help="Also remove its data, keys and accounts. There is no way back.")
def down(remove_data: bool) -> None:
    """End every process, mount, link and rule of the node; data stays."""
    launcher.down(click.echo, remove_data=remove_data)


@node.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Each part and whether it is well; status 1 if one is not."""
    states = launcher.status()
    for state in states:
        click.echo(f"{'well' if state.well else 'AWAY':5} {state.name:26} {state.detail}")
    if not all(state.well for state in states):
        context.exit(1)


@node.command()
def kubeconfig() -> None:
    """Print the path of the operator's kubeconfig (break-glass: the whole cluster)."""
    click.echo(places.state(places.OPERATOR_KUBECONFIG))

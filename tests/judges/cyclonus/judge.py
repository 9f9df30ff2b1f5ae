"""Cyclonus, an independent judge of NetworkPolicy enforcement, on the live node: `python -m tests.judges.cyclonus.judge`.

It makes pods of its own in the namespaces x, y and z, writes policies, probes every pair on two ports and two protocols,
and compares with what it computes itself. Both programs are built from their Go modules (`go.mod`, `go.sum` beside this
file): cyclonus, and agnhost, which serves and asks, from the Kubernetes module of our own node. SCTP is left out: the
kernel of this machine has none. The pods speak to nobody but each other. The table, as last run, is in `table.md`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from infra import places
from infra.node import build, configs
from readingroom import oci

HERE = Path(__file__).parent
PACKAGES = {
    "cyclonus": ".",  # main.go beside its go.mod
    "worker": "github.com/mattfenwick/cyclonus/cmd/worker",
    "agnhost": ".",
}
MODULES = {"cyclonus": "cyclonus", "worker": "cyclonus", "agnhost": "agnhost"}
IMAGE = "docker.io/mfenwick100/cyclonus-worker:latest"  # the name that cyclonus 0.5.6 gives its pods; it lies here, unpulled
EXCLUDED = ("sctp",)


def program(name: str) -> Path:
    """The program, built once for each state of its module's files."""
    module = HERE / MODULES[name]
    files = [module / "go.mod", module / "go.sum", *sorted(module.glob("*.go"))]
    key = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:20]
    out = places.cache("judges", name, key, name)
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_suffix(".draft")
    environment = {
        **os.environ,
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
    }
    go = Path(sys.executable).parent / "go"
    command = [str(go), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(draft), PACKAGES[name]]
    subprocess.run(command, cwd=module, env=environment, check=True)
    draft.rename(out)
    return out


def import_agnhost(folder: Path) -> None:
    """The image that cyclonus names, with one file in it, into the node's containerd."""
    entries = [oci.Entry(name, 0o755, program(name)) for name in ("agnhost", "worker")]
    layer = oci.layer(entries, folder / "layer.tar")
    oci.image([layer], {"Cmd": ["/agnhost"]}, folder / "agnhost.tar")
    ctr = [str(build.binary("ctr")), "--address", str(configs.SOCKET), "-n", "k8s.io", "images"]
    subprocess.run([*ctr, "import", "--index-name", IMAGE, str(folder / "agnhost.tar")], check=True)


@click.command()
@click.option("--include", multiple=True, help="Only cases with this tag of cyclonus; default: all.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("build/cyclonus.txt"))
def main(include: tuple[str, ...], report: Path) -> None:
    """Build, import, run, and end with the judge's own count."""
    folder = places.cache("judges", "image")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    import_agnhost(folder)
    command = [str(program("cyclonus")), f"-exclude={','.join(EXCLUDED)}", f"-include={','.join(include)}"]
    report.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "KUBECONFIG": str(places.state(places.OPERATOR_KUBECONFIG))}
    with report.open("w", encoding="utf-8") as file:
        subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    click.echo(report.read_text(encoding="utf-8")[-6000:])


if __name__ == "__main__":
    main()

"""The grant file as a document: parsed into a `Grant`, or refused with the place and the reason.

Strict in both directions: an unknown key is an error, an absent permission is a no, a number is never a string. The
JSON Schema in `policies/schema/grant.schema.json` says the same to people and tools; a test holds the two together.
"""

from __future__ import annotations

import re

from readingroom.contract import IMAGE_REPOSITORY, cut_repository
from readingroom.domain.document import HEX, LABEL, NAME, REQUEST, Table, wrong
from readingroom.domain.grant import Cut, Gpu, Grant, Image, Limits, Member, Size
from readingroom.domain.ids import digest, handle, project_id

SCHEMA = "readingroom/grant/v1"
_CLAIM = re.compile(r"cut-[a-z0-9-]{1,58}")
_CUT = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_RESOURCE = re.compile(r"[a-z0-9.-]{1,60}/[a-z0-9.-]{1,60}")


def _reference(text: str, where: str, repository: str | None = None) -> str:
    name, _, content = text.partition("@")
    digest(content)
    if not re.fullmatch(rf"{re.escape(IMAGE_REPOSITORY)}/[a-z0-9-]+", name):
        raise wrong(where, f"names no image of {IMAGE_REPOSITORY}")
    if repository is not None and name != f"{IMAGE_REPOSITORY}/{repository}":
        raise wrong(where, f"is not a cut of this project ({IMAGE_REPOSITORY}/{repository})")
    return text


def _cut(table: Table, project: str) -> Cut:
    any_reference = re.compile(r"[^\s]{1,200}")
    image, claim = table.text_or_none("image", any_reference), table.text_or_none("claim", _CLAIM)
    if (image is None) == (claim is None):
        raise wrong("grant.data", "must name exactly one of image and claim")
    if image is not None:
        _reference(image, "grant.data.image", cut_repository(project))
    cut = Cut(id=table.text("cut", _CUT), image=image, claim=claim, manifest_sha256=table.text("manifest_sha256", HEX))
    table.done()
    return cut


def _members(tables: list[Table]) -> tuple[Member, ...]:
    members = []
    for table in tables:
        members.append(Member(handle=handle(table.text("handle", re.compile(".{1,40}"))), until=table.time("until")))
        table.done()
    if len({member.handle for member in members}) != len(members):
        raise wrong("grant.members", "names a handle twice")
    return tuple(members)


def _image(name: str, table: Table) -> Image:
    where = f"grant.images.{name}.ref"
    image = Image(
        ref=_reference(table.text("ref", re.compile(r"[^\s]{1,200}")), where), label=table.text("label", LABEL)
    )
    table.done()
    return image


def _size(table: Table) -> Size:
    gpu_table = table.table_or_none("gpu")
    gpu = None
    if gpu_table is not None:
        gpu = Gpu(resource=gpu_table.text("resource", _RESOURCE), count=gpu_table.whole("count", 1, 16))
        gpu_table.done()
    size = Size(
        cpu=table.number("cpu", 0.1, 256),
        memory_gib=table.whole("memory_gib", 1, 4096),
        scratch_gib=table.whole("scratch_gib", 1, 4096),
        gpu=gpu,
    )
    table.done()
    return size


def _limits(table: Table) -> Limits:
    limits = Limits(
        running=table.whole("running", 0, 1000),
        gpus=table.whole("gpus", 0, 1000),
        gpu_hours=table.whole("gpu_hours", 0, 1_000_000),
        idle_minutes=table.whole("idle_minutes", 5, 1440),
        max_hours=table.whole("max_hours", 1, 168),
    )
    table.done()
    return limits


def from_document(document: object) -> Grant:
    """A grant from its document (parsed JSON).

    Raises `WrongSetUp` naming the place where the document is not a grant, `Refused` for an id that is not allowed.
    """
    root = Table(document, "grant")
    root.text("schema", re.compile(re.escape(SCHEMA)))
    project = project_id(root.text("project", re.compile(".{1,40}")))
    decision, defaults, placement = root.table("decision"), root.table("defaults"), root.table("placement")
    decision.text("record_sha256", HEX)
    grant = Grant(
        project=project,
        version=root.whole("version", 1, 1_000_000),
        title=root.text("title", LABEL),
        tier=root.text("tier", re.compile("browser")),
        request=decision.text("request", REQUEST),
        starts=root.time("from"),
        until=root.time("until"),
        members=_members(root.tables("members")),
        cut=_cut(root.table("data"), project),
        images={name: _image(name, table) for name, table in root.named("images").items()},
        sizes={name: _size(table) for name, table in root.named("sizes").items()},
        limits=_limits(root.table("limits")),
        default_image=defaults.text("image", NAME),
        default_size=defaults.text("size", NAME),
        home_gib=root.whole("home_gib", 1, 4096),
        outbox_gib=root.whole("outbox_gib", 1, 4096),
        pool=placement.text("pool", NAME),
        runtime_class=placement.text_or_none("runtime_class", NAME),
    )
    for table in (root, decision, defaults, placement):
        table.done()
    if grant.until <= grant.starts:
        raise wrong("grant.until", "is not after grant.from")
    if grant.default_image not in grant.images or grant.default_size not in grant.sizes:
        raise wrong("grant.defaults", "name an image or a size that the grant does not list")
    return grant

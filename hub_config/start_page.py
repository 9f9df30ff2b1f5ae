"""What the start page says, worked out from the grant: pure, so that a sentence on the page can be tested."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from html import escape

from readingroom.domain.grant import Grant, Size

ALLOWED = (
    "Read the approved data under /data, in Python and in the notebook.",
    "Keep your own work in your home folder; it is there again next time.",
    "Put figures and tables that you want released into /outbox.",
)
FORBIDDEN = (
    "Data and results do not leave this room by yourself: "
    "outputs leave only by request, after two people have checked them.",
    "There is no internet in here, and no other project.",
    "Do not try to find out who a patient is.",
)
LIMITS = (
    "What is on your screen can still be seen, copied or photographed. The room stops accidents and bulk copies; "
    "the rest is your agreement with the data access committee, and the record that is kept."
)


@dataclass(frozen=True, kw_only=True)
class StartPage:
    """The facts of one project, as its researcher reads them."""

    project: str
    title: str
    cut: str
    ends: str
    allowed: tuple[str, ...] = ALLOWED
    forbidden: tuple[str, ...] = FORBIDDEN
    limits: str = LIMITS


def start_page(grant: Grant, handle: str, now: datetime) -> StartPage:
    """The page of one person: how many days are left, and which of the two ends it is."""
    member = grant.member(handle)
    until = grant.ends_for(member) if member else grant.until
    whose = "your membership ends" if member and member.until < grant.until else "the grant ends"
    days = max(0, (until - now).days)
    left = "less than a day" if days == 0 else "1 day" if days == 1 else f"{days} days"
    return StartPage(
        project=grant.project,
        title=grant.title,
        cut=grant.cut.id,
        ends=f"{left} left: {whose} on {until:%-d %B %Y}, {until:%H:%M} UTC",
    )


def choices(grant: Grant) -> str:
    """The form's fields as HTML: labelled radio buttons, the grant's own default chosen. Every word is escaped."""
    sizes = {name: _size_words(name, size) for name, size in grant.sizes.items()}
    images = {name: image.label for name, image in grant.images.items()}
    return _radios("size", "Size", sizes, grant.default_size) + _radios(
        "image", "Environment", images, grant.default_image
    )


def _size_words(name: str, size: Size) -> str:
    cores = "1 core" if size.cpu == 1 else f"{size.cpu:g} cores"
    gpu = "" if size.gpu is None else f", {size.gpu.count} GPU"
    return f"{name}: {cores}, {size.memory_gib} GiB memory, {size.scratch_gib} GiB scratch{gpu}"


def _radios(key: str, legend: str, words: dict[str, str], chosen: str) -> str:
    items = "".join(
        f'<label class="choice"><input type="radio" name="{escape(key)}" value="{escape(name)}"'
        f"{' checked' if name == chosen else ''}> <span>{escape(text)}</span></label>"
        for name, text in sorted(words.items())
    )
    return f"<fieldset><legend>{escape(legend)}</legend>{items}</fieldset>"

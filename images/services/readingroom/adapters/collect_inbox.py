"""A folder for `readingroom ingest`, where collected instances appear whole, named by their content."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from readingroom.adapters.durable import sync
from readingroom.application.ports_collect import Arrived
from readingroom.domain.errors import WrongSetUp


class InboxOut:
    """See the port `Destination`. An instance gets a second name, so no byte is copied and none is half there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, instances: Sequence[Arrived]) -> Iterator[tuple[str, str]]:
        """See the port. Raises `WrongSetUp` when the folder cannot be written, or is on another file system."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for each in instances:
                with suppress(FileExistsError):  # the same content: it is there
                    os.link(each.path, self._folder / f"{each.sha256}.dcm")
            sync(self._folder)
        except OSError as error:
            raise WrongSetUp(
                what="the inbox",
                which=self._folder.name,
                why=f"it cannot be written ({error.strerror or type(error).__name__})",
                next_step="see to space and permissions; it lies on the file system of the journal",
            ) from error
        for each in instances:
            yield each.uid, ""

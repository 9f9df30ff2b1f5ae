"""dciodvfy, of David Clunie's dicom3tools, as a judge of objects: which attributes of an IOD are missing, wrong or too many.

It shares no code with us, pydicom or any tool of the bench. `judged` gives its errors, without warnings and without the
values that it quotes. What an emptied type 2 attribute makes it say is left out: PS3.15 table E.1-1, action Z.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from typing import Final

DEFLATED: Final = (
    b"1.2.840.10008.1.2.1.99"  # Debian's dciodvfy does not inflate: whoever asks inflates, and this names it so
)
_UNREAD: Final = ("Error - Dicom dataset read failed", "Error - Information Object Not found")
_EMPTIED: Final = "is only permitted to be empty when actually unknown"
_VALUE: Final = re.compile(r'= <.*?>(?= - |$)|"[^"]*"|<[0-9.]+>')


def judged(data: bytes) -> frozenset[str] | None:
    """The errors in a file, or None where it cannot read the file."""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(data.replace(DEFLATED, b"1.2.840.10008.1.2.1\0\0\0", 1))
        file.flush()
        done = subprocess.run(["dciodvfy", file.name], capture_output=True, check=False, timeout=60)
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    if not lines or any(line.startswith(_UNREAD) for line in lines):
        return None
    return frozenset(_VALUE.sub("", line) for line in lines if line.startswith("Error") and _EMPTIED not in line)

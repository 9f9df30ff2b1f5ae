"""TLS of whoever sends to the network door, by DICOM or by upload: both sides with a certificate (PS3.15 B.9, BCP 195)."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from readingroom.domain.errors import WrongSetUp

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; those of 1.3 are all allowed by BCP 195


def client_context(certificate: Path, key: Path, authority: Path, what: str) -> ssl.SSLContext:
    """Our own certificate, and the one authority that is trusted. Raises `WrongSetUp` when a file is off."""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.load_cert_chain(certificate, key, password="")  # a locked key is an error, no question
        context.load_verify_locations(authority)
    except (OSError, ValueError) as error:
        raise WrongSetUp(
            what=what,
            which=f"{certificate.name}, {key.name}, {authority.name}",
            why=f"they cannot be used ({type(error).__name__})",
            next_step="give PEM files: a certificate, its key, and the authority of the other side",
        ) from error
    return context

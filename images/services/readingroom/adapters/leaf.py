"""A private key that never leaves the process, and the request by which Vault signs its certificate."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from readingroom.application.ports_vault import SecretText


@dataclass(frozen=True, kw_only=True)
class Request:
    """A key and the request made with it, PEM."""

    key: SecretText
    request: str


def request(names: Sequence[str]) -> Request:
    """A fresh P-256 key and a request for exactly these DNS names; the first is the common name."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode("ascii")
    return Request(key=_pem(key), request=text)


def seconds_left(certificate: str, now: datetime.datetime) -> float:
    """Life of a certificate (PEM) that is left."""
    return (x509.load_pem_x509_certificate(certificate.encode("ascii")).not_valid_after_utc - now).total_seconds()


def new_rsa_key() -> SecretText:
    """A fresh RSA key of 2048 bits: what signs identity tokens (RS256)."""
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> SecretText:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SecretText(private.decode("ascii"))

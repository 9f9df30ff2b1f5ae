"""The certificate with which Vault answers, and the authority that everybody who asks Vault trusts.

It comes before Vault, so Vault cannot have made it: a key of its own in the state folder, used for this one leaf. Made
anew when 30 days are left; Vault reads the file again when it is told to (SIGHUP) or starts.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra import places
from readingroom import contract

VOLUME: Final = "vault-tls"
NAMES: Final = (f"{contract.SERVICE_VAULT}.{contract.SYSTEM}.svc", contract.SERVICE_VAULT)
_YEAR: Final = datetime.timedelta(days=365)
_RENEW: Final = datetime.timedelta(days=30)


def ensure() -> None:
    """Authority and serving pair are there and good for 30 days more; what is good stays."""
    folder, serving = places.state("pki-vault"), places.volume(VOLUME)
    for each in (folder, serving):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (folder / "ca.key").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Reading Room: Vault's own authority")
        made = _certificate(key, name, key, name, 10 * _YEAR, authority=True)
        _write(folder / "ca.crt", made)
        _write(folder / "ca.key", _pem(key))  # last, for it says that the pair is whole
    issuer = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    if not _is_good(serving, issuer):
        issuer_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not of the kind we make")
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(key, _name(NAMES[0]), issuer_key, issuer.subject, _YEAR, authority=False)
        _write(serving / "tls.key", _pem(key))
        _write(serving / "tls.crt", made)
    for path in (serving, *serving.iterdir()):
        os.chown(path, contract.SERVICE_UID, contract.SERVICE_UID)


def ca_certificate() -> str:
    """PEM of the authority. Made now if it is not there yet."""
    if not places.state("pki-vault", "ca.crt").exists():
        ensure()
    return places.state("pki-vault", "ca.crt").read_text(encoding="ascii")


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    name: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    life: datetime.timedelta,
    *,
    authority: bool,
) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        subject_name=name,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(minutes=5),
        not_valid_after=now + life,
    ).add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
    usage = x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = builder.add_extension(usage, critical=True)
    own, issuers = x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier  # a strict reader asks for both
    builder = builder.add_extension(own.from_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(issuers.from_issuer_public_key(issuer_key.public_key()), critical=False)
    if not authority:
        address = x509.IPAddress(ipaddress.ip_address(contract.VAULT_SERVICE_ADDRESS))
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = x509.SubjectAlternativeName([*(x509.DNSName(each) for each in NAMES), address, here])
        builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    made = builder.sign(issuer_key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def _is_good(serving: Path, issuer: x509.Certificate) -> bool:
    """Whether key and certificate are a pair, signed by this authority, and good for longer than the last month."""
    try:
        there = x509.load_pem_x509_certificate((serving / "tls.crt").read_bytes())
        key = serialization.load_pem_private_key((serving / "tls.key").read_bytes(), None)
        there.verify_directly_issued_by(issuer)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    left = there.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return key.public_key() == there.public_key() and left >= _RENEW


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)  # a leftover has a mode of its own
    new.touch(mode=0o600)
    new.write_bytes(content)
    new.replace(path)

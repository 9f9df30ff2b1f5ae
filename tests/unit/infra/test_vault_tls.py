"""Vault's serving certificate and its authority: made once, renewed in time, whole after a crash, for Vault alone."""

from __future__ import annotations

import datetime
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from infra import vault_tls
from readingroom import contract

DAY = datetime.timedelta(days=1)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "readingroom"


def files(state: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(state)): path.read_bytes()
        for folder in ("pki-vault", "volumes/vault-tls")
        for path in (state / folder).iterdir()
    }


def judge(state: Path) -> None:
    """`openssl` takes the pair for what it is."""
    ca, crt, key = state / "pki-vault/ca.crt", state / "volumes/vault-tls/tls.crt", state / "volumes/vault-tls/tls.key"
    for name in ("-verify_hostname vault.rr-system.svc", "-verify_ip 10.96.0.20", "-verify_ip 127.0.0.1"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, *name.split(), crt]
        subprocess.run(command, check=True, capture_output=True)
    public = [
        subprocess.run(["openssl", *words, "-in", file], check=True, capture_output=True).stdout
        for words, file in ((["x509", "-noout", "-pubkey"], crt), (["pkey", "-pubout"], key))
    ]
    assert public[0] == public[1]


def serve_one_that_ends(state: Path, life: datetime.timedelta) -> bytes:
    """Puts a serving pair in place that ends then, signed by the authority that is there."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = serialization.load_pem_private_key((state / "pki-vault/ca.key").read_bytes(), None)
    assert isinstance(issuer, ec.EllipticCurvePrivateKey)
    subject = x509.load_pem_x509_certificate((state / "pki-vault/ca.crt").read_bytes()).subject
    made = vault_tls._certificate(key, vault_tls._name("vault"), issuer, subject, life, authority=False)
    (state / "volumes/vault-tls/tls.crt").write_bytes(made)
    (state / "volumes/vault-tls/tls.key").write_bytes(vault_tls._pem(key))
    return made


def test_what_is_made_is_a_pair_that_openssl_takes_and_nobody_else_reads(state: Path) -> None:
    vault_tls.ensure()
    judge(state)
    assert set(files(state)) == {
        "pki-vault/ca.key", "pki-vault/ca.crt", "volumes/vault-tls/tls.key", "volumes/vault-tls/tls.crt",
    }  # fmt: skip
    for folder, owner in (("pki-vault", 0), ("volumes/vault-tls", contract.SERVICE_UID)):
        assert stat.S_IMODE((state / folder).stat().st_mode) == 0o700
        for path in (state / folder).iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert (path.stat().st_uid, path.stat().st_gid) == (owner, owner)
        assert (state / folder).stat().st_uid == owner
    made = x509.load_pem_x509_certificate((state / "volumes/vault-tls/tls.crt").read_bytes())
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 365
    authority = x509.load_pem_x509_certificate(vault_tls.ca_certificate().encode())
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_what_is_good_stays(state: Path) -> None:
    vault_tls.ensure()
    before = files(state)
    vault_tls.ensure()
    assert files(state) == before


def test_the_authority_is_given_when_asked_for_first(state: Path) -> None:
    assert vault_tls.ca_certificate() == (state / "pki-vault/ca.crt").read_text()
    judge(state)


@pytest.mark.parametrize(("days", "renewed"), [(31, False), (29, True), (1, True), (-1, True)])
def test_a_month_before_its_end_and_not_earlier_it_is_made_anew(state: Path, days: int, renewed: bool) -> None:
    vault_tls.ensure()
    authority = vault_tls.ca_certificate()
    made = serve_one_that_ends(state, days * DAY)
    vault_tls.ensure()
    assert ((state / "volumes/vault-tls/tls.crt").read_bytes() != made) is renewed
    assert vault_tls.ca_certificate() == authority, "the authority that everybody trusts was exchanged"
    if renewed:
        judge(state)


def _another_authority(state: Path) -> None:
    for file in (state / "pki-vault").iterdir():
        file.unlink()


BROKEN: dict[str, Callable[[Path], object]] = {
    "no certificate": lambda state: (state / "volumes/vault-tls/tls.crt").unlink(),
    "no key": lambda state: (state / "volumes/vault-tls/tls.key").unlink(),
    "half a certificate": lambda state: (state / "volumes/vault-tls/tls.crt").write_text("-----BEGIN CERT"),
    "half a key": lambda state: (state / "volumes/vault-tls/tls.key").write_text("-----BEGIN PRIV"),
    "another's key": lambda state: (state / "volumes/vault-tls/tls.key").write_bytes(
        vault_tls._pem(ec.generate_private_key(ec.SECP256R1()))
    ),
    "another authority": _another_authority,
    "an authority without its key": lambda state: (state / "pki-vault/ca.key").unlink(),  # killed between the two
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_a_crash_or_a_hand_left_behind_is_mended(state: Path, how: str) -> None:
    vault_tls.ensure()
    BROKEN[how](state)
    vault_tls.ensure()
    judge(state)


def test_a_leftover_does_not_lend_its_mode_to_the_key(state: Path) -> None:
    vault_tls.ensure()
    leftover = state / "volumes/vault-tls/tls.key.new"
    leftover.write_text("x")
    leftover.chmod(0o644)
    (state / "volumes/vault-tls/tls.key").unlink()
    vault_tls.ensure()
    judge(state)
    assert stat.S_IMODE((state / "volumes/vault-tls/tls.key").stat().st_mode) == 0o600
    assert not leftover.exists()

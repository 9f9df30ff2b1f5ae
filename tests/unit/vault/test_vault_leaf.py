"""Requests for certificates: a fresh key each, exactly the names asked for; and secrets of known kinds."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from readingroom.adapters import leaf
from readingroom.domain.errors import WrongSetUp
from readingroom.entrypoints.configure_vault import NewSecrets

NAME = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,20}[a-z0-9])?){0,2}", fullmatch=True)


@given(st.lists(NAME, min_size=1, max_size=4, unique=True))
def test_a_request_is_signed_by_its_own_key_and_holds_exactly_the_names(names: list[str]) -> None:
    made = leaf.request(names)
    request = x509.load_pem_x509_csr(made.request.encode())
    key = serialization.load_pem_private_key(made.key.reveal().encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()
    found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(found) == [x509.DNSName(name) for name in names]
    assert [each.value for each in request.subject] == [names[0]]
    assert request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert made.key.reveal() not in repr(made)


def test_two_requests_have_two_keys() -> None:
    assert leaf.request(["a"]).key != leaf.request(["a"]).key


def test_life_that_is_left_counts_from_the_moment_given() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    ends = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime.datetime(2030, 1, 1), ends)  # noqa: DTZ001
    text = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    assert leaf.seconds_left(text, ends - datetime.timedelta(hours=5)) == 5 * 3_600
    assert leaf.seconds_left(text, ends + datetime.timedelta(seconds=1)) == -1


def test_secrets_are_fresh_of_a_known_kind_and_masked() -> None:
    maker = NewSecrets()
    words = {maker.make("hex32").reveal() for _ in range(20)}
    assert len(words) == 20
    assert {len(bytes.fromhex(word)) for word in words} == {32}
    made = maker.make("rsa2048")
    key = serialization.load_pem_private_key(made.reveal().encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2_048
    assert "PRIVATE" not in f"{made} {made!r}"
    for kind in ("", "hex16", "HEX32", "password"):
        with pytest.raises(WrongSetUp, match="no such kind"):
            maker.make(kind)

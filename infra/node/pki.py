"""Keys and certificates of the node: two authorities, leaves of a year that do one thing each.

* etcd trusts every leaf of its authority, so it has one of its own.
* A serving leaf gets serverAuth only, a client leaf clientAuth only, the kubelet both.
* The API server's kubelet client is not the operator; nothing holds the authority's key but this file, so no request
  for a certificate is ever signed by the cluster.
* The service-account key pair is separate: it is what Vault trusts.

A leaf is made anew when its names or its issuer change or fewer than 30 days are left. Keys are 0600.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from infra import places
from readingroom import contract

YEAR: Final = datetime.timedelta(days=365)
RENEW_BEFORE: Final = datetime.timedelta(days=30)
BREAK_GLASS: Final = "readingroom:break-glass"  # admission lets this group do what it denies everybody else


@dataclass(frozen=True)
class Leaf:
    """One certificate: whom it names, in which groups, under which names it serves."""

    name: str
    common_name: str
    groups: Sequence[str] = ()
    serves: Sequence[str] = ()  # DNS names and addresses; empty: a client
    client: bool = True
    authority: str = "cluster"


LEAVES: Final = (
    Leaf(
        "apiserver",
        "kube-apiserver",
        client=False,
        serves=(
            contract.NODE_ADDRESS,
            contract.API_SERVICE_ADDRESS,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{contract.CLUSTER_DOMAIN}",
        ),
    ),
    Leaf("apiserver-kubelet-client", "kube-apiserver-kubelet-client", groups=("readingroom:kubelet-client",)),
    Leaf(
        "kubelet",
        f"system:node:{contract.NODE_NAME}",
        groups=("system:nodes",),
        serves=(contract.NODE_ADDRESS, contract.NODE_NAME),
    ),
    Leaf("controller-manager", "system:kube-controller-manager"),
    Leaf("scheduler", "system:kube-scheduler"),
    Leaf("kube-proxy", "system:kube-proxy"),
    Leaf("netpol", "readingroom:netpol"),
    Leaf("front-door", "readingroom:front-door"),
    Leaf("operator", "operator", groups=("system:masters", BREAK_GLASS)),
    Leaf("deployer", "deployer", groups=(contract.GROUP_DEPLOYER,)),
    Leaf("etcd", "etcd", serves=("127.0.0.1",), client=False, authority="etcd"),
    Leaf("etcd-client", "kube-apiserver", authority="etcd"),
)
KUBECONFIGS: Final = ("controller-manager", "scheduler", "kube-proxy", "kubelet", "netpol", "front-door")


def folder() -> Path:
    """Where all of it lies."""
    return places.state("pki")


def certificate(name: str) -> Path:
    """Its file."""
    return folder() / f"{name}.crt"


def private_key(name: str) -> Path:
    """Its file, 0600."""
    return folder() / f"{name}.key"


def ensure() -> None:
    """Everything there and good for 30 days more; what is good stays as it is."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    for authority in ("cluster", "etcd"):
        if not private_key(f"{authority}-ca").exists() or not certificate(f"{authority}-ca").exists():
            _make_authority(authority)
    for leaf in LEAVES:
        if not _good(leaf):
            _make_leaf(leaf)
    if not (folder() / "service-account.key").exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_private(folder() / "service-account.pub", public)
        write_private(folder() / "service-account.key", _pem(key))
    for name in KUBECONFIGS:
        write_private(folder() / f"{name}.kubeconfig", kubeconfig(name).encode())
    write_private(places.state(places.OPERATOR_KUBECONFIG), kubeconfig("operator").encode())
    write_private(places.state(places.DEPLOYER_KUBECONFIG), kubeconfig("deployer").encode())


def kubeconfig(name: str) -> str:
    """A kubeconfig that names the files of that leaf; JSON is YAML too."""
    server = f"https://{contract.NODE_ADDRESS}:6443"
    return f"""apiVersion: v1
kind: Config
clusters: [{{name: local, cluster: {{server: "{server}", certificate-authority: "{certificate("cluster-ca")}"}}}}]
users: [{{name: {name}, user: {{client-certificate: "{certificate(name)}", client-key: "{private_key(name)}"}}}}]
contexts: [{{name: local, context: {{cluster: local, user: {name}}}}}]
current-context: local
"""


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, 0600, left alone when it is the same."""
    if path.exists() and path.read_bytes() == content:
        return
    new = path.with_name(path.name + ".new")
    new.touch(mode=0o600)
    new.chmod(0o600)
    new.write_bytes(content)
    new.replace(path)


def _make_authority(authority: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"readingroom {authority} authority")
    now = datetime.datetime.now(datetime.UTC)
    made = (
        _builder(name, name, key.public_key(), now, 10 * YEAR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(private_key(f"{authority}-ca"), _pem(key))
    write_private(certificate(f"{authority}-ca"), made.public_bytes(serialization.Encoding.PEM))


def _make_leaf(leaf: Leaf) -> None:
    issuer_key = serialization.load_pem_private_key(private_key(f"{leaf.authority}-ca").read_bytes(), None)
    issuer = x509.load_pem_x509_certificate(certificate(f"{leaf.authority}-ca").read_bytes())
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not of the kind we make")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH] * bool(leaf.serves) + [ExtendedKeyUsageOID.CLIENT_AUTH] * leaf.client
    if leaf.name == "etcd":  # its own client, for the gRPC gateway
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        _builder(_name(leaf.common_name, leaf.groups), issuer.subject, key.public_key(), now, YEAR)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    )
    if leaf.serves:
        builder = builder.add_extension(x509.SubjectAlternativeName(_alternatives(leaf)), critical=False)
    write_private(private_key(leaf.name), _pem(key))
    made = builder.sign(issuer_key, hashes.SHA256())
    write_private(certificate(leaf.name), made.public_bytes(serialization.Encoding.PEM))


def _good(leaf: Leaf) -> bool:
    try:
        there = x509.load_pem_x509_certificate(certificate(leaf.name).read_bytes())
        issuer = x509.load_pem_x509_certificate(certificate(f"{leaf.authority}-ca").read_bytes())
        there.verify_directly_issued_by(issuer)
        key = serialization.load_pem_private_key(private_key(leaf.name).read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return False
    except Exception as error:  # noqa: BLE001 (InvalidSignature has no common base: whatever it is, make it anew)
        del error
        return False
    if leaf.serves:
        names = there.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if list(names) != _alternatives(leaf):
            return False
    fresh = there.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > RENEW_BEFORE
    return fresh and there.subject == _name(leaf.common_name, leaf.groups) and key.public_key() == there.public_key()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    life: datetime.timedelta,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(minutes=5),
        not_valid_after=now + life,
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(common_name: str, groups: Sequence[str] = ()) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternatives(leaf: Leaf) -> list[x509.GeneralName]:
    return [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in leaf.serves
    ]


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

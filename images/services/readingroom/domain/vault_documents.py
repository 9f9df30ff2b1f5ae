"""The documents that Vault must hold, one builder per kind: engine, key, policy, role, certificate. Pure.

A document says how it is written and how it must read back; the rest of what Vault answers is Vault's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from string import Template
from typing import Any, Final

from readingroom.contract import (
    POD_RANGE,
    VAULT_AUDIENCE,
    VAULT_AUTH,
    VAULT_ENVELOPE,
    VAULT_KV,
    VAULT_PKI,
    VAULT_PKI_ROOT,
    VAULT_PSEUDONYM,
)

PROJECT: Final = "${project}"
SESSION_POLICY: Final = "session"
LEEWAY_SECONDS: Final = 5  # Vault's own defaults reach minutes
RENEWED_SECONDS: Final = 86_400
LEAF_SECONDS: Final = 86_400
ROOT_SECONDS: Final = 10 * 365 * 86_400
INTERMEDIATE_SECONDS: Final = 365 * 86_400


class Kind(Enum):
    """What a setting is."""

    AUDIT = "audit device"
    MOUNT = "mount"
    ENGINE = "engine"
    KEY = "key"
    POLICY = "policy"
    ROLE = "role"
    CERTIFICATE = "certificate"
    SEED = "seed"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One document of Vault's: where it is written, where it is read, and how it must read back."""

    kind: Kind
    path: str
    document: Mapping[str, Any]
    reads: Mapping[str, Any]  # fields that must read back so; others are Vault's own
    read_at: str = ""  # where it is not read where it is written
    inside: str = ""  # one entry of a listing document, as mounts are
    fixed: bool = False  # made once: a difference is an error, never mended
    engine: str = ""  # the mount without which it cannot be there

    @property
    def place(self) -> str:
        """Where its present state is read."""
        return self.read_at or self.path


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """Who signs the cluster's service-account tokens, by which keys (PEM) and with exactly which algorithm."""

    name: str
    public_keys: tuple[str, ...]
    algorithm: str


@dataclass(frozen=True, kw_only=True)
class Definition:
    """`roles.yaml` (its schema already checked) and the policy files by name."""

    roles: Mapping[str, Mapping[str, Any]]
    certificates: Mapping[str, Mapping[str, Any]]
    seeds: Mapping[str, Mapping[str, str]]
    policies: Mapping[str, str]
    pod_range: str = POD_RANGE


def render(text: str, project: str) -> str:
    """The text for one project. The caller has checked the id; text without the placeholder stays as it is."""
    return Template(text).substitute(project=project) if PROJECT in text else text


def mounts() -> Sequence[Setting]:
    """The engines, with the settings that hold for each as a whole."""
    urls = {name: [f"https://vault.rr-system.svc:8200/v1/{name}/ca"] for name in (VAULT_PKI_ROOT, VAULT_PKI)}
    return [
        _mount(VAULT_KV, "kv", {"version": "2"}),
        _mount(VAULT_PSEUDONYM, "transit"),
        _mount(VAULT_ENVELOPE, "transit"),
        _mount(VAULT_PKI_ROOT, "pki"),
        _mount(VAULT_PKI, "pki"),
        _engine(VAULT_KV, "config", {"cas_required": True, "max_versions": 10}),
        _engine(VAULT_PKI_ROOT, "tune", {"max_lease_ttl": ROOT_SECONDS}),
        _engine(VAULT_PKI, "tune", {"max_lease_ttl": INTERMEDIATE_SECONDS}),
        *(_engine(name, "config/urls", {"issuing_certificates": urls[name]}) for name in sorted(urls)),
    ]


def audit_device(name: str, file: str) -> Setting:
    """A file that gets every request and answer, secrets hashed. With two, one that cannot be written stops nothing."""
    document = {"type": "file", "options": {"file_path": file, "mode": "0600"}}
    path = f"sys/audit/{name}"
    return Setting(
        kind=Kind.AUDIT,
        path=path,
        document=document,
        reads=document,
        read_at="sys/audit",
        inside=f"{name}/",
        fixed=True,
    )


def login(issuer: Issuer) -> Sequence[Setting]:
    """The one login method:

    `jwt` against copies of the issuer's public keys, so that it works while the API is away.
    """
    method = {"type": "jwt"}
    config = {
        "jwt_validation_pubkeys": list(issuer.public_keys),
        "bound_issuer": issuer.name,
        "jwt_supported_algs": [issuer.algorithm],
    }
    return [
        Setting(
            kind=Kind.MOUNT,
            path=f"sys/auth/{VAULT_AUTH}",
            document=method,
            reads=method,
            read_at="sys/auth",
            inside=f"{VAULT_AUTH}/",
            fixed=True,
        ),
        Setting(kind=Kind.ENGINE, path=f"auth/{VAULT_AUTH}/config", document=config, reads=config),
    ]


def keys(project: str) -> Sequence[Setting]:
    """A project's own keys. Made once: a key of another type or flag is an error, and none is ever deleted here."""
    closed = {"exportable": False, "allow_plaintext_backup": False}
    return [
        _key(VAULT_PSEUDONYM, project, {"type": "hmac", "key_size": 32, **closed}, {"type": "hmac", **closed}),
        _key(VAULT_ENVELOPE, f"{project}-data", {"type": "aes256-gcm96", **closed}, {"type": "aes256-gcm96", **closed}),
    ]


def policies(definition: Definition, open_ids: Sequence[str]) -> list[Setting]:
    """One policy for each file, or one for each open project where the file holds the placeholder."""
    rendered = []
    for name, text in sorted(definition.policies.items()):
        rendered += [policy(definition, name, project) for project in (open_ids if PROJECT in text else [""])]
    return rendered


def policy(definition: Definition, name: str, project: str = "") -> Setting:
    """`rr-<file>` or `rr-<file>-<id>`."""
    document = {"policy": render(definition.policies[name], project)}
    path = f"sys/policies/acl/{policy_name(definition, name, project)}"
    return Setting(kind=Kind.POLICY, path=path, document=document, reads=document)


def role(definition: Definition, name: str, open_ids: Sequence[str], project: str) -> Setting:
    """A login for exactly one service account, from pods' addresses only."""
    entry = definition.roles[name]
    namespace, account = render(entry["namespace"], project), render(entry["account"], project)
    granted = [policy_name(definition, entry["policy"], project), f"rr-{SESSION_POLICY}"]
    if extra := entry.get("project_policy"):
        granted += [policy_name(definition, extra, each) for each in open_ids]
    document = {
        "role_type": "jwt",
        "bound_audiences": [VAULT_AUDIENCE],
        "bound_subject": f"system:serviceaccount:{namespace}:{account}",
        "bound_claims_type": "string",
        "bound_claims": {"/kubernetes.io/namespace": namespace},  # a pointer, because the claim's name holds a dot
        "user_claim": "/kubernetes.io/serviceaccount/uid",  # a recreated account is a new identity
        "user_claim_json_pointer": True,
        "token_policies": granted,
        "token_no_default_policy": True,
        "token_type": "service",
        "token_ttl": entry["seconds"],
        "token_max_ttl": RENEWED_SECONDS if entry.get("renewed") else entry["seconds"],
        "token_num_uses": entry.get("uses", 0),
        "token_bound_cidrs": [definition.pod_range],
        "expiration_leeway": LEEWAY_SECONDS,
        "not_before_leeway": LEEWAY_SECONDS,
        "clock_skew_leeway": LEEWAY_SECONDS,
    }
    path = f"auth/{VAULT_AUTH}/role/{render(name, project)}"
    return Setting(kind=Kind.ROLE, path=path, document=document, reads=document)


def certificate(definition: Definition, name: str, project: str) -> Setting:
    """A signing role for leaves with exactly these names and one side of TLS, from a request made in the pod."""
    entry = definition.certificates[name]
    document = {
        "allowed_domains": [render(each, project) for each in entry["names"]],
        "allow_bare_domains": True,
        "allow_subdomains": False,
        "allow_glob_domains": False,
        "allow_wildcard_certificates": False,
        "allow_any_name": False,
        "allow_localhost": False,
        "allow_ip_sans": False,
        "enforce_hostnames": True,
        "cn_validations": ["hostname"],  # the default would take an e-mail address too
        "server_flag": entry["use"] == "server",
        "client_flag": entry["use"] == "client",
        "key_type": "ec",
        "key_bits": 256,
        "key_usage": ["DigitalSignature"],
        "require_cn": True,
        "use_csr_common_name": True,
        "use_csr_sans": True,
        "ttl": LEAF_SECONDS,
        "max_ttl": LEAF_SECONDS,
    }
    path = f"{VAULT_PKI}/roles/{render(name, project)}"
    return Setting(kind=Kind.CERTIFICATE, path=path, document=document, reads=document, engine=VAULT_PKI)


def policy_name(definition: Definition, name: str, project: str) -> str:
    """`rr-<file>`, and the project where the file is about one."""
    return f"rr-{name}-{project}" if PROJECT in definition.policies[name] else f"rr-{name}"


def _mount(name: str, type_: str, options: Mapping[str, str] | None = None) -> Setting:
    document: dict[str, Any] = {"type": type_, **({"options": dict(options)} if options else {})}
    return Setting(
        kind=Kind.MOUNT,
        path=f"sys/mounts/{name}",
        document=document,
        reads=document,
        read_at="sys/mounts",
        inside=f"{name}/",
        fixed=True,
    )


def _engine(name: str, what: str, document: Mapping[str, Any]) -> Setting:
    path = f"sys/mounts/{name}/tune" if what == "tune" else f"{name}/{what}"
    return Setting(kind=Kind.ENGINE, path=path, document=document, reads=document, engine=name)


def _key(engine: str, name: str, document: Mapping[str, Any], reads: Mapping[str, Any]) -> Setting:
    path = f"{engine}/keys/{name}"
    return Setting(kind=Kind.KEY, path=path, document=document, reads=reads, fixed=True, engine=engine)

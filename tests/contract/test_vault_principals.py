"""Who may what at a real Vault: a grid restated by hand, every cell asked, and every login that must not open.

A cell asks with a document that the engine would accept, so that a 403 is the policy's word and a 200 the engine's.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from readingroom.adapters import leaf
from readingroom.adapters.vault.purpose_keys import draw, draw_split
from readingroom.application.ports_vault import VaultRefused
from readingroom.contract import POD_RANGE, PURPOSES
from readingroom.domain.holdout import SPLIT_INPUT
from tests.contract.vault_server import VaultServer, _url64, public_pem, vault_server
from tests.unit.vault.definitions import OPEN_HEART, OPEN_LUNG, shipped

INPUTS = {purpose: base64.b64encode(f"rr/deid/v1/{purpose}".encode()).decode() for purpose in PURPOSES}
DRAW = {"input": INPUTS["patient"], "key_version": "1"}
SPLIT = {"input": base64.b64encode(SPLIT_INPUT).decode(), "key_version": "1"}
PLAIN = base64.b64encode(b"0" * 32).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    with vault_server(tmp_path_factory.mktemp("vault")) as running:
        running.keep()
        running.configure(OPEN_LUNG, OPEN_HEART)
        yield running


@dataclass(frozen=True)
class Principal:
    """A role and the one account that may use it."""

    role: str
    namespace: str
    account: str


WHO = {
    "hub": Principal("hub-heart", "p-heart-hub", "hub"),
    "edge": Principal("edge-heart", "p-heart-hub", "edge"),
    "deid": Principal("deid-heart", "rr-quarantine", "deid-heart"),
    "cut": Principal("cut-heart", "rr-quarantine", "cut-heart"),
    "holdout": Principal("holdout", "rr-quarantine", "holdout"),
    "apart": Principal("deid-holdout", "rr-quarantine", "deid-holdout"),
    "door": Principal("door", "rr-quarantine", "door"),
    "portal": Principal("portal", "rr-system", "portal"),
    "accounts": Principal("accounts", "rr-system", "accounts"),
    "database": Principal("database", "rr-system", "database"),
    "configure": Principal("configure-vault", "rr-system", "configure-vault"),
}


def sign(*names: str) -> dict[str, Any]:
    return {"csr": leaf.request(names).request}


# What is asked: verb, path, document, and who may. Everybody else is refused; absent means no.
GRID: list[tuple[str, str, Any, set[str]]] = [
    # secrets
    ("GET", "rr-kv/data/projects/heart/hub", None, {"hub"}),
    ("GET", "rr-kv/data/projects/heart/oidc", None, {"hub", "portal"}),
    ("GET", "rr-kv/data/projects/lung-ct/hub", None, set()),
    ("GET", "rr-kv/data/projects/lung-ct/oidc", None, {"portal"}),
    ("GET", "rr-kv/data/platform/portal", None, {"portal"}),
    ("GET", "rr-kv/data/sources/north", None, set()),
    ("GET", "rr-kv/metadata/projects/heart/hub", None, {"configure"}),
    ("GET", "rr-kv/metadata/platform/portal", None, {"configure"}),
    ("LIST", "rr-kv/metadata", None, set()),
    ("LIST", "rr-kv/metadata/projects", None, set()),
    ("LIST", "rr-kv/metadata/projects/heart", None, set()),
    ("POST", "rr-kv/data/projects/heart/hub", {"options": {"cas": 1}, "data": {"a": "b"}}, set()),
    ("POST", "rr-kv/data/platform/portal", {"options": {"cas": 1}, "data": {"a": "b"}}, set()),
    ("DELETE", "rr-kv/data/projects/heart/hub", None, set()),
    ("DELETE", "rr-kv/metadata/projects/heart/hub", None, set()),
    ("POST", "rr-kv/destroy/projects/heart/hub", {"versions": [1]}, set()),
    # pseudonyms
    *(
        ("POST", "rr-pseudonym/hmac/heart/sha2-256", {"input": INPUTS[purpose], "key_version": "1"}, {"deid"})
        for purpose in PURPOSES
    ),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "key_version": 1}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "key_version": "2"}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "key_version": "0"}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "key_version": ""}, set()),  # would mean the latest
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "key_version": None}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "key_version": ","}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "input": None}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "Input": PLAIN}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {"input": DRAW["input"]}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {"key_version": "1"}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "input": base64.b64encode(b"PATIENT-7").decode()}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "input": "KKKK"}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "input": ""}, set()),
    (
        "POST",
        "rr-pseudonym/hmac/heart/sha2-256",
        {"batch_input": [{"input": DRAW["input"]}], "key_version": "1"},
        set(),
    ),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "batch_input": [{"input": PLAIN}]}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", {**DRAW, "algorithm": "sha2-512"}, set()),
    ("POST", "rr-pseudonym/hmac/heart/sha2-512", DRAW, set()),
    ("POST", "rr-pseudonym/hmac/heart", DRAW, set()),
    ("POST", "rr-pseudonym/hmac/lung-ct/sha2-256", DRAW, set()),
    ("POST", "rr-pseudonym/hmac/holdout/sha2-256", SPLIT, {"holdout"}),
    ("POST", "rr-pseudonym/hmac/holdout/sha2-256", {**SPLIT, "key_version": ""}, set()),
    ("POST", "rr-pseudonym/hmac/holdout/sha2-256", {**SPLIT, "input": ""}, set()),
    ("POST", "rr-pseudonym/hmac/holdout/sha2-256", {"batch_input": [{"input": PLAIN}], "key_version": "1"}, set()),
    ("POST", "rr-pseudonym/hmac/holdout/sha2-256", DRAW, {"apart"}),
    ("POST", "rr-pseudonym/hmac/heart/sha2-256", SPLIT, set()),
    ("POST", "rr-pseudonym/verify/heart/sha2-256", {**DRAW, "hmac": "vault:v1:AA=="}, set()),
    ("LIST", "rr-pseudonym/keys", None, set()),
    ("GET", "rr-pseudonym/keys/heart", None, {"configure"}),
    ("GET", "rr-pseudonym/export/hmac-key/heart", None, set()),
    ("GET", "rr-pseudonym/backup/heart", None, set()),
    ("POST", "rr-pseudonym/keys/heart/rotate", {}, set()),
    ("POST", "rr-pseudonym/keys/heart/config", {"deletion_allowed": True}, set()),
    ("DELETE", "rr-pseudonym/keys/heart", None, set()),
    # envelopes
    ("POST", "rr-envelope/encrypt/heart-data", {"plaintext": PLAIN}, {"deid"}),
    ("POST", "rr-envelope/encrypt/heart-data", {"plaintext": PLAIN, "associated_data": PLAIN}, {"deid"}),
    ("POST", "rr-envelope/encrypt/heart-data", {"batch_input": [{"plaintext": PLAIN}]}, set()),
    ("POST", "rr-envelope/encrypt/heart-data", {"plaintext": PLAIN, "key_version": 1}, set()),
    ("POST", "rr-envelope/encrypt/lung-ct-data", {"plaintext": PLAIN}, set()),
    ("POST", "rr-envelope/encrypt/unknown-data", {"plaintext": PLAIN}, set()),
    ("POST", "rr-envelope/decrypt/heart-data", {"ciphertext": "WRAPPED heart-data"}, {"cut"}),
    ("POST", "rr-envelope/decrypt/lung-ct-data", {"ciphertext": "WRAPPED lung-ct-data"}, set()),
    ("POST", "rr-envelope/rewrap/heart-data", {"ciphertext": "WRAPPED heart-data"}, set()),
    ("POST", "rr-envelope/datakey/plaintext/heart-data", {}, set()),
    ("POST", "rr-envelope/hmac/heart-data", {"input": PLAIN}, set()),
    ("POST", "rr-envelope/sign/heart-data", {"input": PLAIN}, set()),
    ("LIST", "rr-envelope/keys", None, set()),
    ("GET", "rr-envelope/keys/heart-data", None, {"configure"}),
    ("GET", "rr-envelope/export/encryption-key/heart-data", None, set()),
    ("POST", "rr-envelope/keys/heart-data/rotate", {}, set()),
    ("POST", "rr-envelope/keys/heart-data/trim", {"min_available_version": 1}, set()),
    ("DELETE", "rr-envelope/keys/heart-data", None, set()),
    # certificates
    ("POST", "rr-pki/sign/edge-heart", "heart.workspace.localhost", {"edge"}),
    ("POST", "rr-pki/sign/edge-lung-ct", "lung-ct.workspace.localhost", set()),
    ("POST", "rr-pki/sign/portal", "portal.rr-system.svc", {"portal"}),
    ("POST", "rr-pki/sign/portal-client", "portal", {"portal", "accounts"}),
    ("POST", "rr-pki/sign/database", "database.rr-system.svc", {"database"}),
    ("POST", "rr-pki/sign/door", "door.rr-quarantine.svc", {"door"}),
    ("POST", "rr-pki/issue/edge-heart", {"common_name": "heart.workspace.localhost"}, set()),
    ("POST", "rr-pki/sign-verbatim", "anything.example", set()),
    ("POST", "rr-pki/sign-verbatim/edge-heart", "heart.workspace.localhost", set()),
    ("POST", "rr-pki/root/sign-intermediate", "anything", set()),
    ("POST", "rr-pki/root/generate/exported", {"common_name": "x"}, set()),
    ("POST", "rr-pki/intermediate/generate/exported", {"common_name": "x"}, set()),
    ("POST", "rr-pki/config/ca", {"pem_bundle": "x"}, set()),
    ("DELETE", "rr-pki/root", None, set()),
    ("POST", "rr-pki/revoke", {"serial_number": "00"}, set()),
    ("LIST", "rr-pki/certs", None, set()),
    ("LIST", "rr-pki/roles", None, {"configure"}),
    ("LIST", "rr-pki/keys", None, set()),
    # Vault itself
    ("GET", "sys/mounts", None, {"configure"}),
    ("POST", "sys/mounts/other", {"type": "kv"}, set()),
    ("DELETE", "sys/mounts/rr-kv", None, set()),
    ("POST", "sys/remount", {"from": "rr-kv", "to": "x"}, set()),
    ("GET", "sys/auth", None, set()),
    ("POST", "sys/auth/other", {"type": "userpass"}, set()),
    ("POST", "auth/rr-cluster/config", {"bound_issuer": "x"}, set()),
    ("LIST", "auth/rr-cluster/role", None, {"configure"}),
    ("GET", "auth/rr-cluster/role/hub-heart", None, {"configure"}),
    ("GET", "auth/rr-cluster/role/configure-vault", None, set()),
    ("LIST", "sys/policies/acl", None, {"configure"}),
    ("GET", "sys/policies/acl/rr-hub-heart", None, {"configure"}),
    ("GET", "sys/policies/acl/rr-configure-vault", None, set()),
    ("POST", "sys/policies/acl/other", {"policy": ""}, set()),
    ("DELETE", "sys/policies/acl/rr-configure-vault", None, set()),
    ("GET", "sys/policies/acl/default", None, set()),
    ("GET", "sys/audit", None, set()),
    ("DELETE", "sys/audit/file", None, set()),
    ("GET", "sys/storage/raft/snapshot", None, set()),
    ("POST", "sys/seal", {}, set()),
    ("POST", "sys/step-down", {}, set()),
    ("GET", "sys/internal/ui/resultant-acl", None, set()),
    ("POST", "sys/wrapping/wrap", {"a": "b"}, set()),
    ("POST", "auth/token/create", {}, set()),
    ("POST", "auth/token/create", {"policies": ["root"]}, set()),
    ("POST", "auth/token/create-orphan", {}, set()),
    ("GET", "auth/token/lookup-self", None, set()),
    ("LIST", "auth/token/accessors", None, set()),
    ("GET", "cubbyhole/x", None, set()),
    ("LIST", "identity/entity/id", None, set()),
    ("POST", "auth/token/renew-self", {}, set(WHO)),
]


def test_every_principal_of_roles_yaml_stands_in_the_grid() -> None:
    named = {each.role.replace("-heart", "-${project}") for who, each in WHO.items() if who != "apart"}
    assert set(shipped().roles) == named


@pytest.fixture(scope="module")
def wrapped(server: VaultServer) -> Mapping[str, str]:
    """What the cut may open, and what it may not."""
    with server.root() as root:
        names = ("heart-data", "lung-ct-data")
        return {
            f"WRAPPED {name}": root.write(f"rr-envelope/encrypt/{name}", {"plaintext": PLAIN})["ciphertext"]
            for name in names
        }


def _document(asked: Any, wrapped: Mapping[str, str]) -> Any:
    if isinstance(asked, str):
        return sign(asked)
    return {
        name: wrapped.get(value, value) if isinstance(value, str) else value for name, value in (asked or {}).items()
    }


@pytest.mark.parametrize("who", WHO)
def test_the_grid(server: VaultServer, wrapped: Mapping[str, str], who: str) -> None:
    principal = WHO[who]
    off = []
    token = ""
    for verb, path, asked, may in GRID:
        document = None if asked is None else _document(asked, wrapped)
        if not token or principal.role.startswith("deid"):  # its uses are counted: one login a cell
            token = server.token(principal.role, principal.namespace, principal.account)
        status, answer = server.ask(verb, path, document, token)
        if (status in {200, 204}) != (who in may) or (who not in may and status != 403):
            off.append((verb, path, asked, status, answer.get("errors")))
    assert off == []


def test_only_its_own_account_may_use_a_role(server: VaultServer) -> None:
    """Every role by every account: the diagonal opens, nothing else does."""
    for role in WHO.values():
        for account in WHO.values():
            status, _ = server.login(role.role, server.jwt(account.namespace, account.account))
            assert (status == 200) is (role == account), (role, account)


class TestLogin:
    @pytest.mark.parametrize(
        "changes",
        [
            {"aud": ["https://kubernetes.default.svc"]},
            {"aud": "vault"},
            {"aud": []},
            {"aud": None},
            {"iss": "https://kubernetes.default.svc"},
            {"iss": None},
            {"sub": "system:serviceaccount:rr-system:portal2"},
            {"sub": "system:serviceaccount:rr-system:Portal"},
            {"sub": "system:serviceaccount:rr-system-2:portal"},
            {"sub": "system:serviceaccount:rr-system:portal:x"},
            {"sub": "system:serviceaccount:*:portal"},
            {"sub": None},
            {"kubernetes.io": {"namespace": "p-heart-hub", "serviceaccount": {"name": "portal", "uid": "u"}}},
            {"kubernetes.io": {"namespace": "rr-system"}},
            {"kubernetes.io": {"serviceaccount": {"name": "portal", "uid": "u"}}},
            {"kubernetes.io": None},
            {"exp": -8, "iat": -608, "nbf": -608},  # seconds from the moment of the login
            {"exp": None, "iat": None, "nbf": None},
            {"nbf": 3_600, "exp": 7_200},
            {"iat": 3_600, "exp": 7_200},
        ],
        ids=json.dumps,
    )
    def test_a_claim_that_is_off_is_refused_and_recorded(self, server: VaultServer, changes: dict[str, Any]) -> None:
        before = [file.stat().st_size for file in server.audit_files]
        now = int(time.time())
        claims = {name: now + value if isinstance(value, int) else value for name, value in changes.items()}
        status, answer = server.login("portal", server.jwt("rr-system", "portal", **claims))
        assert status in {400, 403}, answer
        for file, size in zip(server.audit_files, before, strict=True):
            lines = [json.loads(line) for line in file.read_text()[size:].splitlines()]
            (record,) = [line for line in lines if line["type"] == "response"]
            assert record["request"]["path"] == "auth/rr-cluster/login"
            assert record["response"]["data"].keys() == {"error"}
            assert "client_token" not in record["auth"]

    def test_it_expires_within_seconds_of_its_time(self, server: VaultServer) -> None:
        now = int(time.time())
        claims = {"exp": now - 2, "iat": now - 602, "nbf": now - 602}
        assert server.login("portal", server.jwt("rr-system", "portal", **claims))[0] == 200, "within the leeway"
        claims = {"exp": now - 7, "iat": now - 607, "nbf": now - 607}
        assert server.login("portal", server.jwt("rr-system", "portal", **claims))[0] == 400

    def test_a_token_that_is_not_the_issuers_is_refused(self, server: VaultServer) -> None:
        good = server.jwt("rr-system", "portal")
        head, claims, signature = good.split(".")
        changed = json.loads(base64.urlsafe_b64decode(claims + "=="))
        changed["sub"] = "system:serviceaccount:rr-system:configure-vault"
        unsigned = _url64(json.dumps({"alg": "none"}).encode())
        keyed = ".".join([_url64(json.dumps({"alg": "HS256"}).encode()), claims])
        mac = hmac.HMAC(public_pem(server.issuer).encode(), hashes.SHA256())
        mac.update(keyed.encode())
        own, server.issuer = server.issuer, rsa.generate_private_key(65_537, 2048)
        strange = server.jwt("rr-system", "portal")
        server.issuer = own
        forged = {
            "alg none, no signature": f"{unsigned}.{claims}.",
            "alg none, a signature": f"{unsigned}.{claims}.{signature}",
            "the public key as a secret": f"{keyed}.{_url64(mac.finalize())}",
            "another algorithm": server.jwt("rr-system", "portal", header={"alg": "RS512"}),
            "another key": strange,
            "a key of its own in the header": server.jwt(
                "rr-system", "portal", header={"alg": "PS256", "jku": "https://x"}
            ),
            "changed after signing": f"{head}.{_url64(json.dumps(changed).encode())}.{signature}",
            "no token": "x",
            "empty": "",
        }
        for role in ("portal", "configure-vault"):
            for name, token in forged.items():
                assert server.login(role, token)[0] in {400, 403}, name
        assert server.login("portal", good)[0] == 200  # the harmless control

    def test_a_role_that_is_not_there_is_refused(self, server: VaultServer) -> None:
        for role in ("hub-unknown", "", "../portal", "default"):
            assert server.login(role, server.jwt("rr-system", "portal"))[0] in {400, 403}

    def test_there_is_no_role_for_a_workspace(self, server: VaultServer) -> None:
        with server.root() as root:
            for role in root.names("auth/rr-cluster/role"):
                document = root.read(f"auth/rr-cluster/role/{role}")
                assert document
                assert "-ws" not in document["bound_subject"]
                assert server.login(role, server.jwt("p-heart-ws", "workspace"))[0] == 400

    def test_another_address_is_refused(self, server: VaultServer) -> None:
        """The shipped range is the pods', and this machine is none."""
        with server.root_token() as token:
            _, role = server.ask("GET", "auth/rr-cluster/role/database", token=token)
            server.ask(
                "POST", "auth/rr-cluster/role/database", {**role["data"], "token_bound_cidrs": [POD_RANGE]}, token
            )
            try:
                status, answer = server.login("database", server.jwt("rr-system", "database"))
                assert status in {400, 403}, answer
            finally:
                server.ask("POST", "auth/rr-cluster/role/database", role["data"], token=token)
        assert server.login("database", server.jwt("rr-system", "database"))[0] == 200

    def test_tokens_are_short_named_by_the_accounts_uid_and_without_the_default_policy(
        self, server: VaultServer
    ) -> None:
        lives = {
            "hub": 300,
            "edge": 300,
            "deid": 900,
            "apart": 900,
            "holdout": 300,
            "cut": 900,
            "door": 900,
            "portal": 900,
            "database": 900,
            "configure": 600,
            "accounts": 600,
        }
        for name, principal in WHO.items():
            _, answer = server.login(principal.role, server.jwt(principal.namespace, principal.account))
            auth = answer["auth"]
            assert auth["lease_duration"] == lives[name]
            assert "default" not in auth["policies"]
            assert auth["token_type"] == "service"
            assert auth["num_uses"] == (8 if name in {"deid", "apart"} else 0)
            with server.root() as root:
                found = root.write("auth/token/lookup-accessor", {"accessor": auth["accessor"]})
                uid = f"uid-of-{principal.namespace}-{principal.account}"
                assert found["display_name"] == f"rr-cluster-{uid}"
                assert found["explicit_max_ttl"] == 0
                assert found["orphan"] is True

    def test_a_renewal_never_goes_beyond_the_life_that_was_given(self, server: VaultServer) -> None:
        for name in ("cut", "hub", "database"):
            principal = WHO[name]
            _, answer = server.login(principal.role, server.jwt(principal.namespace, principal.account))
            token, life = answer["auth"]["client_token"], answer["auth"]["lease_duration"]
            status, renewed = server.ask("POST", "auth/token/renew-self", {"increment": "24h"}, token)
            assert status == 200
            assert renewed["auth"]["lease_duration"] <= life
        token = server.token("portal", "rr-system", "portal")
        assert server.ask("POST", "auth/token/renew-self", {}, token)[1]["auth"]["lease_duration"] == 900

    def test_the_de_identifiers_uses_are_counted(self, server: VaultServer) -> None:
        token = server.token("deid-heart", "rr-quarantine", "deid-heart")
        statuses = [server.ask("POST", "rr-pseudonym/hmac/heart/sha2-256", DRAW, token)[0] for _ in range(9)]
        assert statuses == [200] * 8 + [403]

    def test_the_two_projects_draw_different_values_and_the_same_each_time(self, server: VaultServer) -> None:
        drawn = []
        for project in ("heart", "heart", "lung-ct"):
            token = server.token(f"deid-{project}", "rr-quarantine", f"deid-{project}")
            _, answer = server.ask("POST", f"rr-pseudonym/hmac/{project}/sha2-256", DRAW, token)
            assert answer["data"]["hmac"].startswith("vault:v1:")
            drawn.append(answer["data"]["hmac"])
        assert drawn[0] == drawn[1] != drawn[2]

    def test_the_key_of_the_split_is_drawn_the_same_each_time_and_is_none_of_a_project(
        self, server: VaultServer
    ) -> None:
        with server.root() as root:
            first, again, others = draw_split(root), draw_split(root), draw(root, "holdout").reveal()
        assert first == again
        assert len(first) == 32
        assert first not in others.values()


class TestEnvelope:
    def test_a_wrapped_key_opens_for_what_it_was_bound_to_and_for_nothing_else(self, server: VaultServer) -> None:
        wrapping = server.token("deid-heart", "rr-quarantine", "deid-heart")
        opening = server.token("cut-heart", "rr-quarantine", "cut-heart")
        bound = {"associated_data": base64.b64encode(b"heart/one").decode()}
        asked = {"plaintext": PLAIN, **bound}
        _, answer = server.ask("POST", "rr-envelope/encrypt/heart-data", asked, wrapping)
        key = {"ciphertext": answer["data"]["ciphertext"]}
        other = {"associated_data": base64.b64encode(b"heart/two").decode()}
        rows = {200: {**key, **bound}, 400: {**key, **other}}
        for wanted, document in rows.items():
            status, answer = server.ask("POST", "rr-envelope/decrypt/heart-data", document, opening)
            assert status == wanted, answer
        assert server.ask("POST", "rr-envelope/decrypt/heart-data", key, opening)[0] == 400

    def test_what_vault_ignores_and_only_warns_about_is_an_error_for_us(self, server: VaultServer) -> None:
        document = {"associated_data": base64.b64encode(b"heart/one").decode()}
        with server.root() as root, pytest.raises(VaultRefused, match="it warned"):
            root.write("rr-envelope/datakey/wrapped/heart-data", document)


class TestCertificates:
    def sign(self, server: VaultServer, role: str, who: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        principal = WHO[who]
        token = server.token(principal.role, principal.namespace, principal.account)
        return server.ask("POST", f"rr-pki/sign/{role}", document, token)

    def test_a_leaf_has_exactly_its_names_one_use_and_a_day(self, server: VaultServer) -> None:
        rows = {
            ("portal", "portal"): (
                ["portal.readingroom.localhost", "portal.rr-system.svc"],
                ExtendedKeyUsageOID.SERVER_AUTH,
            ),
            ("portal-client", "portal"): (["portal"], ExtendedKeyUsageOID.CLIENT_AUTH),
            ("database", "database"): (["database.rr-system.svc"], ExtendedKeyUsageOID.SERVER_AUTH),
            ("edge-heart", "edge"): (["heart.workspace.localhost"], ExtendedKeyUsageOID.SERVER_AUTH),
        }
        root = x509.load_pem_x509_certificate(
            server.ask("GET", "rr-pki-root/cert/ca")[1]["data"]["certificate"].encode()
        )
        for (role, who), (names, use) in rows.items():
            status, answer = self.sign(server, role, who, sign(*names))
            assert status == 200, answer
            made = x509.load_pem_x509_certificate(answer["data"]["certificate"].encode())
            issuer = x509.load_pem_x509_certificate(answer["data"]["issuing_ca"].encode())
            made.verify_directly_issued_by(issuer)
            issuer.verify_directly_issued_by(root)
            found = made.extensions
            assert (
                found.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
                == names
            )
            assert len(found.get_extension_for_class(x509.SubjectAlternativeName).value) == len(names)
            assert list(found.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
            assert [each.value for each in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [names[0]]
            life = (made.not_valid_after_utc - made.not_valid_before_utc).total_seconds()
            assert 86_400 <= life <= 86_400 + 60
            usage = found.get_extension_for_class(x509.KeyUsage).value
            assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)
            assert issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    @pytest.mark.parametrize(
        ("names", "why"),
        [
            (["lung-ct.workspace.localhost"], "another project's"),
            (["heart.workspace.localhost", "lung-ct.workspace.localhost"], "another one beside its own"),
            (["a.heart.workspace.localhost"], "below its own"),
            (["*.workspace.localhost"], "a wildcard"),
            (["*.heart.workspace.localhost"], "a wildcard below its own"),
            (["workspace.localhost"], "above its own"),
            (["localhost"], "localhost"),
            (["portal.readingroom.localhost"], "the portal's"),
            (["portal"], "the database's role"),
            (["heart.workspace.localhost.example.org"], "its own and more"),
        ],
    )
    def test_a_name_that_is_not_its_own_is_refused(self, server: VaultServer, names: list[str], why: str) -> None:
        status, answer = self.sign(server, "edge-heart", "edge", sign(*names))
        assert status == 400, (why, answer)

    @pytest.mark.parametrize(
        "more",
        [
            {"alt_names": "lung-ct.workspace.localhost"},
            {"ip_sans": "10.0.0.1"},
            {"uri_sans": "spiffe://x"},
            {"other_sans": "1.3.6.1.4.1.311.20.2.3;utf8:x"},
            {"ttl": "8760h"},
            {"not_after": "2040-01-01T00:00:00Z"},
            {"common_name": "lung-ct.workspace.localhost"},
            {"user_ids": "root"},
            {"issuer_ref": "default"},
            {"remove_roots_from_chain": True},
            {"serial_number": "7"},
        ],
        ids=str,
    )
    def test_more_asked_beside_the_request_brings_nothing_more(self, server: VaultServer, more: dict[str, Any]) -> None:
        document = {**sign("heart.workspace.localhost"), **more}
        status, answer = self.sign(server, "edge-heart", "edge", document)
        assert status in {400, 403}, answer

    @pytest.mark.parametrize(
        "name",
        [
            x509.RFC822Name("root@lung-ct.workspace.localhost"),
            x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
            x509.UniformResourceIdentifier("https://heart.workspace.localhost"),
        ],
        ids=str,
    )
    def test_a_request_with_a_name_of_another_kind_is_refused(
        self, server: VaultServer, name: x509.GeneralName
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        host = "heart.workspace.localhost"
        names = x509.SubjectAlternativeName([x509.DNSName(host), name])
        request = x509.CertificateSigningRequestBuilder().subject_name(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        ).add_extension(names, critical=False).sign(key, hashes.SHA256())  # fmt: skip
        csr = request.public_bytes(serialization.Encoding.PEM).decode()
        status, answer = self.sign(server, "edge-heart", "edge", {"csr": csr})
        assert status == 400, answer

    def test_a_common_name_that_is_an_address_of_a_person_is_refused(self, server: VaultServer) -> None:
        """Among the other names Vault takes one at the own host; nobody here reads those."""
        for role, who, name in (
            ("edge-heart", "edge", "root@heart.workspace.localhost"),
            ("portal-client", "portal", "x@portal"),
        ):
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            request = x509.CertificateSigningRequestBuilder().subject_name(subject)
            made = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
            csr = made.public_bytes(serialization.Encoding.PEM).decode()
            assert self.sign(server, role, who, {"csr": csr})[0] == 400

    def test_a_request_for_an_authority_or_with_a_weak_key_brings_neither(self, server: VaultServer) -> None:
        host = "heart.workspace.localhost"
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, host), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")]
        )
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)  # fmt: skip
        for key, fits in (
            (ec.generate_private_key(ec.SECP256R1()), True),
            (rsa.generate_private_key(65_537, 2048), False),
        ):
            csr = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
            status, answer = self.sign(server, "edge-heart", "edge", {"csr": csr})
            assert (status == 200) is fits, answer
            if fits:
                made = x509.load_pem_x509_certificate(answer["data"]["certificate"].encode())
                with pytest.raises(x509.ExtensionNotFound):
                    made.extensions.get_extension_for_class(x509.BasicConstraints)
                assert not made.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)

    def test_the_authorities_are_vaults_own_and_last_as_long_as_they_should(self, server: VaultServer) -> None:
        lives = {"rr-pki-root": 3_650, "rr-pki": 365}
        for mount, days in lives.items():
            status, answer = server.ask("GET", f"{mount}/cert/ca")  # public: asked for without a token
            assert status == 200
            made = x509.load_pem_x509_certificate(answer["data"]["certificate"].encode())
            assert (made.not_valid_after_utc - made.not_valid_before_utc).days == days
            assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

"""The node's certificates, judged by openssl: each does one thing, for one identity, under one authority."""

from __future__ import annotations

import datetime
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from infra import places
from infra.node import configs, pki
from readingroom.contract import API_SERVICE_ADDRESS, NODE_ADDRESS, NODE_NAME

SERVER, CLIENT = "TLS Web Server Authentication", "TLS Web Client Authentication"
SERVING = {"apiserver"}
BOTH = {"kubelet", "etcd"}
LEAVES = [leaf.name for leaf in pki.LEAVES]
ETCD = {"etcd", "etcd-client"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        pki.ensure()
        yield pki.folder()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another folder of keys, for one test to spoil."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    pki.ensure()
    return pki.folder()


def openssl(*words: str | Path, text: str = "") -> str:
    done = subprocess.run(["openssl", *map(str, words)], input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def purposes(certificate: Path) -> set[str]:
    shown = openssl("x509", "-in", certificate, "-noout", "-ext", "extendedKeyUsage")
    return {purpose for purpose in (SERVER, CLIENT) if purpose in shown}


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_serves_or_asks_and_only_kubelet_and_etcd_do_both(made: Path, name: str) -> None:
    expected = {SERVER, CLIENT} if name in BOTH else {SERVER} if name in SERVING else {CLIENT}
    assert purposes(made / f"{name}.crt") == expected


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_is_of_its_own_authority_and_of_no_other(made: Path, name: str) -> None:
    mine, other = ("etcd", "cluster") if name in ETCD else ("cluster", "etcd")
    verify = ("verify", "-x509_strict", "-purpose", "sslserver" if name in SERVING else "sslclient")
    assert openssl(*verify, "-CAfile", made / f"{mine}-ca.crt", made / f"{name}.crt").endswith(": OK\n")
    assert "verification failed" in openssl(*verify, "-CAfile", made / f"{other}-ca.crt", made / f"{name}.crt")


def test_a_leaf_makes_no_further_leaf(made: Path, tmp_path: Path) -> None:
    request = openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k", "-subj", "/CN=x")
    signed = openssl(
        "x509", "-req", "-CA", made / "operator.crt", "-CAkey", made / "operator.key", "-days", "1", text=request
    )
    (tmp_path / "forged.crt").write_text(signed[signed.index("-----BEGIN") :])
    verify = ("verify", "-CAfile", made / "cluster-ca.crt", "-untrusted", made / "operator.crt")
    assert "invalid CA certificate" in openssl(*verify, tmp_path / "forged.crt")


@pytest.mark.parametrize("name", ["cluster-ca", "etcd-ca"])
def test_an_authority_signs_leaves_and_no_further_authority(made: Path, name: str) -> None:
    shown = openssl("x509", "-in", made / f"{name}.crt", "-noout", "-ext", "basicConstraints,keyUsage")
    assert "CA:TRUE, pathlen:0" in shown
    assert "Certificate Sign, CRL Sign" in shown
    assert "Digital Signature" not in shown


def test_the_api_server_answers_to_its_three_kinds_of_names_alone(made: Path) -> None:
    shown = openssl("x509", "-in", made / "apiserver.crt", "-noout", "-ext", "subjectAltName")
    assert set(re.findall(r"(?:DNS|IP Address):(\S+?)(?:,|\s)", shown + "\n")) == {
        NODE_ADDRESS, API_SERVICE_ADDRESS, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    }  # fmt: skip


def test_the_kubelet_is_known_by_the_nodes_address_and_asked_under_an_authority(made: Path) -> None:
    assert "does match" in openssl("x509", "-in", made / "kubelet.crt", "-noout", "-checkip", NODE_ADDRESS)
    subject = openssl("x509", "-in", made / "kubelet.crt", "-noout", "-subject")
    assert f"O = system:nodes, CN = system:node:{NODE_NAME}" in subject
    words = configs._apiserver()
    assert f"--kubelet-certificate-authority={made}/cluster-ca.crt" in words
    assert "--kubelet-preferred-address-types=InternalIP" in words


def test_only_the_operator_is_a_master_and_the_kubelets_client_is_not(made: Path) -> None:
    groups = {name: openssl("x509", "-in", made / f"{name}.crt", "-noout", "-subject") for name in LEAVES}
    assert [name for name, subject in groups.items() if "system:masters" in subject] == ["operator"]
    assert f"--kubelet-client-certificate={made}/apiserver-kubelet-client.crt" in configs._apiserver()


def options() -> dict[str, list[str]]:
    return {name: list(words) for name, words in {
        "kube-apiserver": configs._apiserver(), "kube-controller-manager": configs._controller_manager(),
    }.items()}  # fmt: skip


def test_no_leaf_may_speak_for_somebody_else(made: Path) -> None:
    """A front proxy's names would have to be listed; without one there is no authority for any."""
    assert [word for words in options().values() for word in words if "requestheader" in word] == []


def test_nothing_in_the_cluster_holds_an_authoritys_key_or_signs_requests(made: Path) -> None:
    assert [word for words in options().values() for word in words if word.endswith("-ca.key")] == []
    controllers = next(word for word in options()["kube-controller-manager"] if word.startswith("--controllers="))
    assert "-certificatesigningrequest-signing-controller" in controllers
    assert "-certificatesigningrequest-approving-controller" in controllers


def test_the_service_accounts_key_is_apart_and_matches_what_vault_is_given(made: Path) -> None:
    public = openssl("rsa", "-in", made / "service-account.key", "-pubout")
    text = (made / "service-account.pub").read_text()
    assert text.strip() in public
    others = {openssl("pkey", "-in", file, "-pubout") for file in made.glob("*.key") if file.stem != "service-account"}
    assert text not in others
    assert len(others) == len(LEAVES) + 2, "two identities share a key"


def test_keys_are_for_root_alone(made: Path) -> None:
    files = [*made.glob("*.key"), *made.glob("*.kubeconfig"), places.state(places.OPERATOR_KUBECONFIG)]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_kubeconfig_names_files_and_holds_no_key(made: Path) -> None:
    for name in pki.KUBECONFIGS:
        text = (made / f"{name}.kubeconfig").read_text()
        assert f'client-key: "{made}/{name}.key"' in text
        assert "-data" not in text


def contents(own: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in own.iterdir()}


def test_again_changes_nothing(own: Path) -> None:
    before = contents(own)
    pki.ensure()
    assert contents(own) == before


def changed(own: Path, before: dict[str, bytes]) -> set[str]:
    return {name for name, content in contents(own).items() if before.get(name) != content}


def test_another_name_makes_that_leaf_anew_and_no_other(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(own)
    changing = [
        pki.Leaf("apiserver", "kube-apiserver", client=False, serves=("n",)) if leaf.name == "apiserver" else leaf
        for leaf in pki.LEAVES
    ]
    monkeypatch.setattr(pki, "LEAVES", changing)
    pki.ensure()
    assert changed(own, before) == {"apiserver.crt", "apiserver.key"}


@pytest.mark.parametrize("damage", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_broken_certificate_or_another_leafs_is_made_anew(own: Path, damage: str) -> None:
    before = contents(own)
    (own / "netpol.crt").write_text(damage or (own / "operator.crt").read_text())
    pki.ensure()
    assert changed(own, before) == {"netpol.crt", "netpol.key"}


@pytest.mark.parametrize(("days", "renewed"), [(31, False), (29, True)])
def test_a_leaf_with_less_than_thirty_days_left_is_renewed(
    own: Path, days: int, renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr(pki, "YEAR", datetime.timedelta(days=days))
        pki._make_leaf(next(leaf for leaf in pki.LEAVES if leaf.name == "deployer"))
    before = contents(own)
    pki.ensure()
    assert changed(own, before) == ({"deployer.crt", "deployer.key"} if renewed else set())


def test_an_authority_that_was_lost_takes_all_its_leaves_along(own: Path) -> None:
    before = contents(own)
    (own / "etcd-ca.key").unlink()
    pki.ensure()
    assert changed(own, before) == {f"{name}.{end}" for name in ("etcd-ca", *ETCD) for end in ("crt", "key")}
    last = x509.load_pem_x509_certificate((own / "etcd.crt").read_bytes())
    assert last.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < datetime.timedelta(days=366)

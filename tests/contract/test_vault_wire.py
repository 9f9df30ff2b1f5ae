"""What comes back from Vault's address is judged: by certificate, status and body. A server of our own plays what a real
Vault, a proxy or a stranger may answer."""

from __future__ import annotations

import http.server
import inspect
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hvac.adapters
import hvac.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra import vault_tls
from readingroom.adapters.vault.seal import HttpSeal, _unmasked
from readingroom.adapters.vault.session import VaultSession
from readingroom.adapters.vault.wire import MEANING, Forbidden, Timing, Wire
from readingroom.application.ports_vault import SecretText, VaultRefused, VaultUnavailable
from tests.ports import free_port

CANARY = "hvs.canary-77aa"
TOKEN = SecretText(CANARY)
LOGIN = {"auth": {"client_token": CANARY, "lease_duration": 900, "renewable": True}}


@dataclass
class Clock:
    """Time that passes only in pauses."""

    at: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at += seconds


@dataclass
class Puppet:
    """Answers what it is told, the last one again and again, and remembers what it was asked."""

    address: str
    folder: Path
    answers: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def says(self, *answers: object) -> None:
        """A status, a document (200), text (200), or a pair of status and either."""
        self.answers = [self._answer(each) for each in answers]
        self.asked.clear()

    def _answer(self, said: object) -> tuple[int, bytes, dict[str, str]]:
        status, content = said if isinstance(said, tuple) else (said, {}) if isinstance(said, int) else (200, said)
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        return status, b"" if status == 204 else body, {"Location": f"{self.address}/v1/elsewhere"}

    @property
    def wire(self) -> Wire:
        timing = Timing(attempt=2.0, budget=20.0, now=self.clock.now, sleep=self.clock.sleep, jitter=lambda: 1.0)
        return Wire(address=self.address, ca_file=str(self.folder / "readingroom/pki-vault/ca.crt"), timing=timing)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Puppet]:
    folder = tmp_path_factory.mktemp("puppet")
    with _puppet(folder) as puppet:
        yield puppet


@pytest.fixture
def puppet(running: Puppet) -> Puppet:
    running.clock = Clock()
    running.says({})
    return running


class _puppet:  # noqa: N801 (a context manager)
    def __init__(self, folder: Path) -> None:
        with pytest.MonkeyPatch.context() as surroundings:
            surroundings.setenv("XDG_STATE_HOME", str(folder))
            vault_tls.ensure()
        serving = folder / "readingroom" / "volumes" / "vault-tls"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(serving / "tls.crt", serving / "tls.key")
        puppet = Puppet("", folder)

        class Handler(http.server.BaseHTTPRequestHandler):
            def __getattr__(self, name: str) -> Callable[[], None]:
                if name.startswith("do_"):
                    return self._any
                raise AttributeError(name)

            def _any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                puppet.asked.append((self.command, self.path, dict(self.headers), body))
                status, content, headers = puppet.answers[min(len(puppet.asked), len(puppet.answers)) - 1]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                cut = content == b'"cut short"'
                self.send_header("Content-Length", str(len(content) + 100 * cut))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # a client that hung up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        puppet.address = f"https://127.0.0.1:{self.server.server_address[1]}"
        self.puppet = puppet
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Puppet:
        self.thread.start()
        return self.puppet

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class TestVerdicts:
    @pytest.mark.parametrize("status", [412, 429, 502, 503])
    def test_what_passes_is_asked_again_and_for_no_longer_than_the_budget(self, puppet: Puppet, status: int) -> None:
        puppet.says(status, status, {"data": {"a": 1}})
        assert puppet.wire.ask("GET", "x") == {"data": {"a": 1}}
        assert puppet.clock.pauses == [0.2, 0.4]
        puppet.says(status)
        with pytest.raises(VaultUnavailable, match=f"status {status}"):
            puppet.wire.ask("GET", "x")
        assert puppet.clock.at <= 20.6
        assert puppet.clock.pauses[2:8] == [0.2, 0.4, 0.8, 1.6, 3.0, 3.0]

    @pytest.mark.parametrize("status", [500, 501, 504])
    def test_an_answer_that_is_no_verdict_means_away(self, puppet: Puppet, status: int) -> None:
        puppet.says((status, {"errors": ["1 error occurred"]}))
        with pytest.raises(VaultUnavailable, match=f"status {status}"):
            puppet.wire.ask("GET", "x")
        assert len(puppet.asked) == 1

    def test_one_that_does_not_lead_yet_is_asked_again(self, puppet: Puppet) -> None:
        not_yet = (500, {"errors": ["local node not active but active cluster node not found"]})
        puppet.says(not_yet, not_yet, {"data": {"a": 1}})
        assert puppet.wire.ask("GET", "x") == {"data": {"a": 1}}
        puppet.says(not_yet)
        with pytest.raises(VaultUnavailable, match="does not lead yet"):
            puppet.wire.ask("GET", "x")

    @pytest.mark.parametrize("status", [201, 202, 206, 301, 302, 307, 308, 400, 401, 405, 409, 418, 451, 472, 473, 505])
    def test_any_other_verdict_is_a_refusal_and_never_retried(self, puppet: Puppet, status: int) -> None:
        puppet.says((status, {"errors": ["no"]}), {"data": {"a": 1}})
        with pytest.raises(VaultRefused, match=f"status {status}"):
            puppet.wire.ask("GET", "x", token=TOKEN)
        assert len(puppet.asked) == 1, "a redirect was followed, with the token"
        assert puppet.clock.pauses == []

    def test_forbidden_is_told_apart(self, puppet: Puppet) -> None:
        puppet.says((403, {"errors": ["permission denied"]}))
        with pytest.raises(Forbidden, match=r"status 403 .*permission denied"):
            puppet.wire.ask("GET", "x")

    @pytest.mark.parametrize(
        "text", ["<html><title>Sign in</title></html>", "", "[]", "null", "3", '"ok"', "{", "\x00", "[" * 100_000]
    )
    def test_a_proxys_page_or_anything_else_that_is_no_document_is_a_refusal(self, puppet: Puppet, text: str) -> None:
        for method in ("GET", "POST", "LIST", "DELETE"):
            puppet.says(text)
            with pytest.raises(VaultRefused, match="no document"):
                puppet.wire.ask(method, "x")

    def test_a_warning_is_an_error(self, puppet: Puppet) -> None:
        puppet.says({"data": {"ciphertext": "vault:v1:x"}, "warnings": ["associated_data is ignored"]})
        with pytest.raises(VaultRefused, match=r"it warned: .*associated_data is ignored"):
            puppet.wire.ask("POST", "x", {"a": 1})
        puppet.says({"data": {"a": 1}, "warnings": None})
        assert puppet.wire.ask("POST", "x", {"a": 1}) == {"data": {"a": 1}, "warnings": None}

    def test_nothing_there_is_a_document_of_vaults_and_not_a_page(self, puppet: Puppet) -> None:
        for method in ("GET", "LIST", "DELETE"):
            puppet.says((404, {"errors": []}))
            assert puppet.wire.ask(method, "x") is None
        for said in ((404, "<html>"), (404, {"errors": ["no handler for route"]}), (404, "")):
            puppet.says(said)
            with pytest.raises(VaultRefused, match="status 404"):
                puppet.wire.ask("GET", "x")
        puppet.says((404, {"errors": []}))
        with pytest.raises(VaultRefused):
            puppet.wire.ask("POST", "x", {})

    def test_an_answer_without_a_body_is_an_empty_document(self, puppet: Puppet) -> None:
        puppet.says(204)
        assert puppet.wire.ask("POST", "x", {}) == {}

    def test_a_reply_cut_short_is_asked_for_again(self, puppet: Puppet) -> None:
        puppet.says('"cut short"', {"data": {"a": 1}})
        assert puppet.wire.ask("GET", "x") == {"data": {"a": 1}}

    def test_foreign_text_is_cut_and_stays_on_one_line(self, puppet: Puppet) -> None:
        puppet.says((400, {"errors": ["line\nline\x1b[31m" + "x" * 5_000]}))
        with pytest.raises(VaultRefused) as caught:
            puppet.wire.ask("GET", "x")
        text = str(caught.value)
        assert len(text) < 400
        assert text.isprintable()


class TestWho:
    def test_a_strangers_certificate_is_refused_at_once_and_gets_no_request(
        self, puppet: Puppet, tmp_path: Path
    ) -> None:
        with _puppet(tmp_path) as stranger:
            wire = replace(puppet.wire, address=stranger.address)
            with pytest.raises(VaultRefused, match="somebody else's certificate"):
                wire.ask("GET", "x", token=TOKEN)
            assert stranger.asked == []
            assert puppet.clock.pauses == []
            stranger.says({"data": {}})
            own = replace(wire, ca_file=stranger.wire.ca_file)  # the harmless control
            assert own.ask("GET", "x") == {"data": {}}

    def test_another_name_than_the_certificates_is_refused(self, puppet: Puppet) -> None:
        wire = replace(puppet.wire, address=puppet.address.replace("127.0.0.1", "localhost"))
        with pytest.raises(VaultRefused, match="somebody else's certificate"):
            wire.ask("GET", "x", token=TOKEN)
        assert puppet.asked == []

    def test_without_the_authoritys_file_nothing_is_asked(self, puppet: Puppet, tmp_path: Path) -> None:
        for path in (str(tmp_path / "absent.crt"), ""):
            with pytest.raises(VaultRefused):
                replace(puppet.wire, ca_file=path).ask("GET", "x")
        assert puppet.asked == []

    def test_nobody_listening_means_away(self, puppet: Puppet) -> None:
        with pytest.raises(VaultUnavailable, match="ConnectionError"):
            replace(puppet.wire, address=f"https://127.0.0.1:{free_port()}").ask("GET", "x")
        assert 15 < puppet.clock.at <= 20

    def test_one_that_never_answers_costs_no_more_than_an_attempt(self, puppet: Puppet) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            wire = Wire(
                address=f"https://127.0.0.1:{silent.getsockname()[1]}",
                ca_file=puppet.wire.ca_file,
                timing=Timing(attempt=0.2, budget=0.5),
            )
            started = time.monotonic()
            with pytest.raises(VaultUnavailable):
                wire.ask("GET", "x")
            assert time.monotonic() - started < 3

    def test_the_surroundings_lend_neither_token_nor_address_nor_proxy_nor_authority(
        self, puppet: Puppet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "VAULT_ADDR", "VAULT_PROXY_ADDR"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "VAULT_CACERT", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "other.crt"))
        monkeypatch.setenv("VAULT_TOKEN", CANARY)
        monkeypatch.setenv("VAULT_NAMESPACE", "other")
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / ".vault-token").write_text(CANARY)
        (tmp_path / ".netrc").write_text("default login somebody password canary\n")
        puppet.says({"data": {}})
        puppet.wire.ask("GET", "x")
        ((_, _, headers, _),) = puppet.asked
        assert not {"X-Vault-Token", "X-Vault-Namespace", "Authorization"} & set(headers)
        assert CANARY not in str(headers)


ERRORS = [
    each
    for _, each in inspect.getmembers(hvac.exceptions, inspect.isclass)
    if issubclass(each, hvac.exceptions.VaultError)
]
AWAY = {
    "PreconditionFailed",
    "RateLimitExceeded",
    "InternalServerError",
    "VaultNotInitialized",
    "BadGateway",
    "VaultDown",
}


class TestHvacsErrors:
    def test_each_one_has_a_meaning(self) -> None:
        assert set(MEANING) == set(ERRORS)
        assert len(ERRORS) > 10

    @pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
    def test_each_one_is_translated_and_its_cause_is_kept(
        self, puppet: Puppet, monkeypatch: pytest.MonkeyPatch, kind: type[hvac.exceptions.VaultError]
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise kind("no", method="get", url="x", text=CANARY)

        monkeypatch.setattr(hvac.adapters.RawAdapter, "request", fail)
        wanted = VaultUnavailable if kind.__name__ in AWAY else VaultRefused
        with pytest.raises((VaultUnavailable, VaultRefused), match=kind.__name__) as caught:
            puppet.wire.ask("GET", "x")
        assert type(caught.value) is wanted
        assert type(caught.value.__cause__) is kind
        assert CANARY not in str(caught.value)

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 500, 503])
    def test_no_error_shows_the_token_the_document_or_the_login(
        self, puppet: Puppet, tmp_path: Path, status: int
    ) -> None:
        (tmp_path / "token").write_text(CANARY)
        puppet.says((200, LOGIN), (status, "<html>"))
        session = VaultSession("hub-x", wire=puppet.wire, token_file=tmp_path / "token")
        with pytest.raises((VaultUnavailable, VaultRefused)) as caught:
            session.write("x", {"secret": CANARY})
        assert CANARY not in "".join(traceback.format_exception(caught.value))


class TestSession:
    @pytest.fixture
    def session(self, puppet: Puppet, tmp_path: Path) -> VaultSession:
        (tmp_path / "token").write_text("jwt-1\n")
        return VaultSession("hub-x", wire=puppet.wire, token_file=tmp_path / "token")

    def _paths(self, puppet: Puppet) -> list[str]:
        return [path.removeprefix("/v1/") for _, path, _, _ in puppet.asked]

    def test_it_logs_in_once_and_reads_the_file_each_time_it_does(
        self, puppet: Puppet, session: VaultSession, tmp_path: Path
    ) -> None:
        puppet.says(LOGIN, {"data": {}})
        session.read("a")
        session.read("b")
        assert self._paths(puppet) == ["auth/rr-cluster/login", "a", "b"]
        assert puppet.asked[0][3] == {"role": "hub-x", "jwt": "jwt-1"}
        assert "X-Vault-Token" not in puppet.asked[0][2]
        assert puppet.asked[1][2]["X-Vault-Token"] == CANARY
        session.close()
        (tmp_path / "token").write_text("jwt-2")
        puppet.says(LOGIN, {"data": {}})
        session.read("a")
        assert puppet.asked[0][3]["jwt"] == "jwt-2"

    def test_it_renews_at_two_thirds_and_not_before(self, puppet: Puppet, session: VaultSession) -> None:
        puppet.says(LOGIN, {"data": {}})
        session.read("a")
        puppet.clock.at += 599
        session.read("b")
        puppet.clock.at += 2
        puppet.says(LOGIN, {"data": {}})
        session.read("c")
        assert self._paths(puppet) == ["auth/token/renew-self", "c"]

    @pytest.mark.parametrize(
        "renewal",
        [
            {"auth": {"client_token": CANARY, "lease_duration": 300, "renewable": True}},
            (403, {"errors": ["permission denied"]}),
            (400, {"errors": ["lease is not renewable"]}),
        ],
    )
    def test_a_renewal_that_brings_less_than_a_life_ends_in_a_new_login(
        self, puppet: Puppet, session: VaultSession, renewal: object
    ) -> None:
        puppet.says(LOGIN, {"data": {}})
        session.read("a")
        puppet.clock.at += 601
        puppet.says(renewal, LOGIN, {"data": {}})
        session.read("b")
        assert self._paths(puppet) == ["auth/token/renew-self", "auth/rr-cluster/login", "b"]

    def test_a_token_that_cannot_be_renewed_is_not_tried(self, puppet: Puppet, session: VaultSession) -> None:
        puppet.says({"auth": {**LOGIN["auth"], "renewable": False}}, {"data": {}})
        session.read("a")
        puppet.clock.at += 601
        puppet.says(LOGIN, {"data": {}})
        session.read("b")
        assert self._paths(puppet) == ["auth/rr-cluster/login", "b"]

    def test_a_403_means_one_new_login_and_one_repetition(self, puppet: Puppet, session: VaultSession) -> None:
        puppet.says(LOGIN, {"data": {}})
        session.read("a")
        no = (403, {"errors": ["permission denied"]})
        puppet.says(no, LOGIN, {"data": {"v": 1}})
        assert session.read("b") == {"v": 1}
        assert self._paths(puppet) == ["b", "auth/rr-cluster/login", "b"]
        puppet.says(no, LOGIN, no, {"data": {"v": 1}})
        with pytest.raises(VaultRefused):
            session.read("c")
        assert self._paths(puppet) == ["c", "auth/rr-cluster/login", "c"]

    def test_a_403_right_after_a_login_is_a_no(self, puppet: Puppet, session: VaultSession) -> None:
        puppet.says(LOGIN, (403, {"errors": ["permission denied"]}))
        with pytest.raises(VaultRefused):
            session.read("a")
        assert self._paths(puppet) == ["auth/rr-cluster/login", "a"]

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"auth": None},
            {"auth": {"client_token": CANARY}},
            {"auth": {"client_token": CANARY, "lease_duration": 0}},  # a token without an end is none of ours
            {"auth": {"client_token": "", "lease_duration": 900}},
            {"auth": {**LOGIN["auth"]}, "warnings": ["it is not what you think"]},
        ],
    )
    def test_a_login_that_brings_no_token_with_an_end_is_refused(
        self, puppet: Puppet, session: VaultSession, answer: object
    ) -> None:
        puppet.says(answer)
        with pytest.raises(VaultRefused):
            session.read("a")
        assert len(puppet.asked) == 1

    @pytest.mark.parametrize("content", [None, b"\xff\xfe"])
    def test_without_the_pods_token_nothing_is_asked(
        self, puppet: Puppet, tmp_path: Path, content: bytes | None
    ) -> None:
        if content:
            (tmp_path / "bad").write_bytes(content)
        session = VaultSession("hub-x", wire=puppet.wire, token_file=tmp_path / "bad")
        with pytest.raises(VaultRefused, match="the pod's token cannot be read"):
            session.read("a")
        assert puppet.asked == []

    def test_closing_revokes_once_and_never_raises(self, puppet: Puppet, session: VaultSession) -> None:
        session.close()
        assert puppet.asked == []
        for said in (204, 503, 403, "<html>"):
            puppet.says(LOGIN, {"data": {}})
            with session:
                session.read("a")
                puppet.says(said)
            assert set(self._paths(puppet)) == {"auth/token/revoke-self"}
            session.close()


class TestSealOverTheWire:
    def test_to_initialise_is_asked_once_and_waited_for(self, puppet: Puppet) -> None:
        for said in ({}, {"keys_base64": ["a", "b"], "root_token": "r"}, {"keys_base64": ["a"]}, {"root_token": "r"}):
            puppet.says(said)
            with pytest.raises(VaultRefused, match="no single share and root token"):
                HttpSeal(puppet.wire).initialise()
            assert len(puppet.asked) == 1
        puppet.says({"keys_base64": ["a"], "root_token": "r"})
        assert HttpSeal(puppet.wire).initialise().share == SecretText("a")

    @pytest.mark.parametrize(
        "said", [{}, {"initialized": True}, {"initialized": "yes", "sealed": "no"}, {"sealed": False}]
    )
    def test_a_state_that_does_not_say_how_the_seal_is_is_refused(self, puppet: Puppet, said: object) -> None:
        puppet.says(said)
        with pytest.raises(VaultRefused, match="does not say how the seal is"):
            HttpSeal(puppet.wire).state()

    def test_still_sealed_after_the_only_share_is_refused(self, puppet: Puppet) -> None:
        for said in ({"sealed": True}, {}, {"sealed": None}):
            puppet.says(said)
            with pytest.raises(VaultRefused, match="still sealed"):
                HttpSeal(puppet.wire).unseal(SecretText("a"))

    ANSWERS = st.dictionaries(
        st.sampled_from(["encoded_root_token", "encoded_token", "otp"]),
        st.one_of(st.none(), st.integers(), st.text(max_size=8), st.sampled_from(["AQID", "abc", "AQIDBA", "////"])),
    )

    @given(ANSWERS, ANSWERS)
    def test_a_root_token_comes_out_whole_or_is_refused(self, answer: dict[str, Any], attempt: dict[str, Any]) -> None:
        try:
            token = _unmasked(answer, attempt)
        except VaultRefused as error:
            assert error.__cause__ is None  # noqa: PT017 (either end is right)
        else:
            assert len(token.reveal()) == len(str(attempt["otp"]))

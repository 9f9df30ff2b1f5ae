"""The edge by a real nginx with TLS: listed routes pass, everything else is refused and the proxy hears nothing of it."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.unit.hub.nginx import Upstream, configuration, nginx, say

NAME = "demo.workspace.localhost"
ADA, BEN = "raaaaaaa", "rbbbbbbb"
KERNEL = "12345678-1234-1234-1234-123456789abc"
HOSTILE_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n"
    b"Content-Security-Policy: default-src *\r\nContent-Security-Policy-Report-Only: report-uri https://e.example\r\n"
    b"Report-To: x\r\nNEL: x\r\nLink: <https://e.example>; rel=preconnect\r\nRefresh: 0; url=https://e.example\r\n"
    b"Service-Worker-Allowed: /\r\nSourceMap: https://e.example/x\r\nAccess-Control-Allow-Origin: *\r\n"
    b"Content-Disposition: attachment; filename=data.dcm\r\nServer: pod\r\nX-JupyterHub-Version: 6\r\n"
    b"Set-Cookie: a=b; Path=/; Domain=workspace.localhost\r\n\r\n{}"
)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Upstream]]:
    folder: Path = tmp_path_factory.mktemp("edge")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run([*make, *names, *files], check=True, capture_output=True)
    (folder / "tls.key").chmod(0o644)
    port = free_port()
    with Upstream().running() as proxy:
        replaced = {
            "@HOST@": NAME,
            "@PORT@": "8443",
            "@PROXY@": f"127.0.0.1:{proxy.port}",
            "listen 8443": f"listen 127.0.0.1:{port}",
            "/run/delivered": str(folder),
        }
        with nginx(configuration("edge.conf", folder, replaced), port):
            yield port, proxy


def connect(edge: tuple[int, Upstream], name: str = NAME, version: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if version:
        context.maximum_version = version
    return context.wrap_socket(socket.create_connection(("127.0.0.1", edge[0])), server_hostname=name)


def ask(
    edge: tuple[int, Upstream], path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], list[bytes]]:
    """One request as a browser of this origin sends it, unless `headers` say otherwise; underscores are hyphens."""
    edge[1].seen.clear()
    sent = {
        "Host": f"{NAME}:8443",
        "Sec-Fetch-Site": "same-origin",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Dest": "empty",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items() if value)
    with connect(edge) as connection:
        status, found, _ = say(connection, f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())
    return status, found, list(edge[1].seen)


PASSES = [
    "/",
    "/hub/home",
    "/hub/spawn",
    f"/hub/spawn-pending/{ADA}",
    "/hub/oauth_callback?code=c&state=s",
    "/hub/api/oauth2/authorize?client_id=x",
    f"/hub/api/users/{ADA}/server/progress?_xsrf=x",
    f"/hub/user/{ADA}/lab",
    "/hub/reading-room/style.css",
    f"/user/{ADA}/lab/tree/00-start-here.ipynb",
    f"/user/{ADA}/api/contents/00-start-here.ipynb?content=1",
    f"/user/{ADA}/api/sessions",
    f"/user/{ADA}/static/lab/main.js",
    f"/user/{ADA}/lab/api/settings/x",
]
REFUSED = [
    f"/user/{ADA}/files/data.csv",
    f"/user/{ADA}/view/data.html",
    f"/user/{ADA}/nbconvert/html/a.ipynb",
    f"/user/{ADA}/nbconvert/html/a.ipynb?download=true",
    f"/user/{ADA}/proxy/8000/",
    f"/user/{ADA}/api/nbconvert",
    f"/user/{ADA}/lab/../files/data.csv",
    f"/user/{ADA}/lab/%2e%2e/files/data.csv",
    f"/user/{ADA}//files/data.csv",
    f"/user/{ADA}/lab%2f..%2ffiles/data.csv",
    f"/user/{ADA}/tree",
    "/user/Ada/lab",
    "/hub/admin",
    "/hub/token",
    "/hub/api/users",
    f"/hub/api/users/{ADA}/tokens",
    "/hub/api/proxy",
    "/hub/api/shutdown",
    "/hub/metrics",
    "/services/x",
    "/metrics",
    "/hub/reading-room/../x.css",
]


@pytest.mark.parametrize("path", PASSES)
def test_a_listed_route_passes(edge: tuple[int, Upstream], path: str) -> None:
    status, _, seen = ask(edge, path)
    assert status == 200
    assert len(seen) == 1


@pytest.mark.parametrize("path", REFUSED)
def test_an_unlisted_route_is_refused_here(edge: tuple[int, Upstream], path: str) -> None:
    status, _, seen = ask(edge, path)
    assert status in {400, 403}
    assert seen == []


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PROPFIND", "CONNECT"])
def test_an_odd_method_is_refused(edge: tuple[int, Upstream], method: str) -> None:
    status, _, seen = ask(edge, "/hub/home", method)
    assert status in {400, 403, 405}
    assert seen == []


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}, True),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}, False),
        ({"Sec_Fetch_Site": "none"}, True),
        ({"Origin": f"https://{NAME}:8443"}, True),
        ({"Origin": "https://other.workspace.localhost:8443"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": f"https://{NAME}:8443.e.example"}, False),
        ({"Upgrade": "h2c", "Connection": "upgrade"}, False),
        ({"Upgrade": "websocket", "Connection": "upgrade"}, False),
        ({"Service_Worker": "script"}, False),
    ],
)
def test_another_site_may_only_send_a_person_here(
    edge: tuple[int, Upstream], headers: dict[str, str], passes: bool
) -> None:
    status, _, seen = ask(edge, "/hub/home", **headers)
    assert (status == 200, len(seen)) == (passes, int(passes))


def test_a_post_from_another_site_is_refused_even_as_a_navigation(edge: tuple[int, Upstream]) -> None:
    headers = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    status, _, seen = ask(edge, "/hub/spawn", "POST", Content_Length="0", **headers)
    assert (status, seen) == (403, [])


@pytest.mark.parametrize(
    ("origin", "path", "passes"),
    [
        (f"https://{NAME}:8443", f"/user/{ADA}/api/kernels/{KERNEL}/channels?session_id=1", True),
        (f"https://{NAME}:8443", f"/user/{ADA}/terminals/websocket/1", True),
        ("", f"/user/{ADA}/api/kernels/{KERNEL}/channels", False),
        ("https://e.example", f"/user/{ADA}/api/kernels/{KERNEL}/channels", False),
        (f"https://{NAME}:8443", f"/user/{ADA}/api/contents", False),
        (f"https://{NAME}:8443", f"/user/{ADA}/proxy/9000/", False),
    ],
)
def test_a_websocket_needs_our_own_origin_and_a_route_for_it(
    edge: tuple[int, Upstream], origin: str, path: str, passes: bool
) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": origin, "Sec_Fetch_Mode": "websocket"}
    _, _, seen = ask(edge, path, **headers)
    assert len(seen) == int(passes)
    if passes:
        assert b"upgrade: websocket" in seen[0].lower()


def test_what_a_pod_says_about_policy_reporting_and_other_places_is_taken_away(edge: tuple[int, Upstream]) -> None:
    proxy = edge[1]
    before, proxy.answer = proxy.answer, HOSTILE_ANSWER
    try:
        _, headers, _ = ask(edge, f"/user/{ADA}/lab")
    finally:
        proxy.answer = before
    gone = {"report-to", "nel", "link", "refresh", "service-worker-allowed", "sourcemap", "content-disposition"}
    gone |= {"access-control-allow-origin", "content-security-policy-report-only", "x-jupyterhub-version"}
    assert not gone & set(headers)
    assert "e.example" not in str(headers)
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "*" not in policy
    assert headers["cache-control"] == "no-store"
    cookie = headers["set-cookie"].lower()
    assert f"path=/user/{ADA}/" in cookie
    assert re.search(r"domain=[^;]", cookie) is None  # an empty one is as none
    assert "secure" in cookie


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (f"/user/{ADA}/lab", True),
        ("/hub/api/oauth2/authorize?x=1", True),
        (f"https://{NAME}:8443/hub/home", True),
        ("https://e.example/", False),
        ("//e.example/", False),
        ("/\\e.example/", False),
        ("javascript:alert(1)", False),
        (f"https://{NAME}:8443.e.example/", False),
    ],
)
def test_a_pod_can_send_a_browser_only_to_our_own_hosts(edge: tuple[int, Upstream], target: str, kept: bool) -> None:
    proxy = edge[1]
    answer = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    before, proxy.answer = proxy.answer, answer
    try:
        _, headers, _ = ask(edge, f"/user/{ADA}/lab")
    finally:
        proxy.answer = before
    assert headers["location"].removeprefix(f"https://{NAME}:8443") == (
        target.removeprefix(f"https://{NAME}:8443") if kept else "/hub/home"
    )


def test_what_a_browser_claims_about_itself_does_not_go_further(edge: tuple[int, Upstream]) -> None:
    _, _, seen = ask(edge, "/hub/home", X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="http", Forwarded="for=1.2.3.4")
    text = seen[0].lower()
    assert b"1.2.3.4" not in text
    assert b"x-forwarded-proto: https" in text
    assert f"host: {NAME}:8443".encode() in text


def test_only_tls_1_3_and_only_our_name(edge: tuple[int, Upstream]) -> None:
    with connect(edge) as connection:
        assert connection.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        connect(edge, version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError):
        connect(edge, name="other.workspace.localhost")

"""The only way in: a TCP forwarder on 127.0.0.1 that reads the name a browser asks for and passes the bytes on, unread.

TLS ends in the pods: the door has no key, sees no page, and knows two kinds of names: the portal's, and
`<project>.workspace.localhost`, whose edge it finds by asking the API server for that Service's address. A connection
that names nothing of ours, or does not speak within five seconds, is closed (RFC 6066 section 3, server_name).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
from pathlib import Path
from typing import Final

import click
import kubernetes
from urllib3.exceptions import HTTPError

from readingroom import contract

log = logging.getLogger("front-door")
HELLO_SECONDS: Final = 5.0
HELLO_BYTES: Final = 16 * 1024
ADDRESS_SECONDS: Final = 10.0  # how long an edge's address is remembered
CONNECTIONS: Final = 512


def server_name(hello: bytes) -> str | None:
    """The name in a TLS ClientHello; None while more bytes are needed.

    Raises `ValueError` when it is no ClientHello or names nothing. The parser is OpenSSL's: the bytes are given to a
    handshake that never answers.
    """
    if hello[:1] not in (b"", b"\x16"):
        raise ValueError("not TLS")
    named: list[str] = []

    def note(_socket: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int:
        named.append(name or "")
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = note
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(hello)
    try:
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    except ssl.SSLWantReadError:
        if not named:
            return None
    except ssl.SSLError as error:
        if not named:
            raise ValueError("not a TLS ClientHello") from error
    if not named or not named[0]:
        raise ValueError("no server name")
    return named[0].lower()


class Door:
    """Where each name leads."""

    def __init__(self, kubeconfig: Path) -> None:
        kubernetes.config.load_kube_config(str(kubeconfig))  # type: ignore[no-untyped-call]  # the library has no types
        self._services = kubernetes.client.CoreV1Api()
        self._known: dict[str, tuple[float, str]] = {}
        self._open = 0

    async def address(self, name: str) -> tuple[str, int]:
        """Raises `ValueError` for a name that leads nowhere."""
        if name == contract.PORTAL_HOST:
            return contract.PORTAL_SERVICE_ADDRESS, contract.PORT_PORTAL
        project, _, rest = name.partition(".")
        if rest != contract.WORKSPACE_DOMAIN or not contract.PROJECT_ID.fullmatch(project):
            raise ValueError("no name of ours")
        when, address = self._known.get(project, (0.0, ""))
        if time.monotonic() - when > ADDRESS_SECONDS:
            address = await asyncio.to_thread(self._edge, project) or address
            if not address:
                raise ValueError("the API is away, and this project was not asked for before")
            self._known[project] = (time.monotonic(), address)
        return address, contract.PORT_EDGE

    def _edge(self, project: str) -> str:
        """Empty while the API is away: who works goes on working. Raises `ValueError` if there is no such project."""
        try:
            service = self._services.read_namespaced_service(
                contract.SERVICE_EDGE, contract.hub_namespace(project), _request_timeout=5
            )
        except kubernetes.client.ApiException as error:
            if error.status == 404:
                self._known.pop(project, None)
                raise ValueError("no such project") from error
            return ""
        except (HTTPError, OSError):
            return ""
        return str(service.spec.cluster_ip) if service.spec else ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its last."""
        self._open += 1
        try:
            if self._open <= CONNECTIONS:
                await self._pass_on(reader, writer)
        except (ValueError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            log.info("closed: %s", error or type(error).__name__)
        finally:
            self._open -= 1
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = b""
        name: str | None = None
        async with asyncio.timeout(HELLO_SECONDS):
            while name is None:
                more = await reader.read(HELLO_BYTES)
                hello += more
                if not more or len(hello) > HELLO_BYTES:
                    raise ValueError("no TLS ClientHello")
                name = server_name(hello)
            address, port = await self.address(name)
            inside, outside = await asyncio.open_connection(address, port)
        outside.write(hello)
        try:
            await asyncio.gather(_copy(reader, outside), _copy(inside, writer))
        finally:
            outside.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


@click.command()
@click.option("--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=contract.FRONT_DOOR_PORT, show_default=True)
def main(kubeconfig: Path, port: int) -> None:
    """Pass browsers on to the portal and the projects' edges."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    async def run() -> None:
        server = await asyncio.start_server(Door(kubeconfig).serve, "127.0.0.1", port, limit=HELLO_BYTES)
        log.info(json.dumps({"listening": f"127.0.0.1:{port}"}))
        async with server:
            await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    main()

"""`python -m readingroom.entrypoints.portal`: the portal's process.

Tables and clients are brought up to date under a lock, then gunicorn serves over TLS. Certificate and key are read for each
new connection, so that a renewed pair needs no restart. It writes nothing but to its database and to `/tmp`.
"""

from __future__ import annotations

import logging
import sys
import time
from contextlib import closing
from ssl import SSLContext, TLSVersion
from typing import Any, Final

import click
import django
from django.conf import settings as django_settings
from django.core.management import call_command
from gunicorn.app.base import BaseApplication

from readingroom.domain.errors import ReadingRoomError
from readingroom.entrypoints import settings
from readingroom.entrypoints.settings import PortalSettings
from readingroom.entrypoints.web.settings import portal

log = logging.getLogger("portal")
LOCK: Final = 0x52500002  # of pg_advisory_lock: one process at a time changes the tables
PATIENCE: Final = 120.0  # seconds that a database may take to come up
PAUSE: Final = 2.0


def prepare(found: PortalSettings) -> None:
    """Tables, the cache's table and the hubs' clients are as this version wants them. Raises `TryAgain`."""
    from django.db import connection, connections  # noqa: PLC0415 (settings come first)

    from readingroom.adapters.db.clients import forget_expired, reconcile_clients  # noqa: PLC0415 (so do models)

    secrets = {project.id: found.secret(f"oidc-{project.id}") for project in found.projects}
    _wait_for_database()
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
        reconcile_clients(secrets)
        forget_expired()
    connections.close_all()  # ends the lock, and no connection is shared by workers
    log.info("%d projects", len(secrets))


def _wait_for_database() -> None:
    from django.db import OperationalError, connection  # noqa: PLC0415 (settings come first)

    from readingroom.adapters.db.people import away  # noqa: PLC0415 (so do models)

    until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.ensure_connection()
        except OperationalError as error:
            if time.monotonic() > until:
                raise away(error) from error
            time.sleep(PAUSE)
        else:
            return


class Server(BaseApplication):  # type: ignore[misc]  # the library has no types
    """gunicorn with our settings and none from files, arguments or the environment."""

    def __init__(self, found: PortalSettings) -> None:
        self._found = found
        super().__init__()

    def load_config(self) -> None:
        """Two processes of four threads: one may wait for a slow hash while the others answer."""
        values: dict[str, Any] = {
            "bind": [self._found.listen],
            "workers": 2,
            "threads": 4,
            "worker_class": "gthread",
            "preload_app": True,
            "worker_tmp_dir": "/tmp",  # noqa: S108 (the pod's own emptyDir)
            "control_socket_disable": True,
            "certfile": str(self._found.certificate),
            "keyfile": str(self._found.key),
            "ssl_context": _tls,
            "timeout": 30,
            "graceful_timeout": 8,
            "keepalive": 15,
            "forwarded_allow_ips": "",  # nobody in front of us may say who asks or how
            "limit_request_line": 4094,
            "limit_request_fields": 50,
            "errorlog": "-",
            "loglevel": "warning",
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The application, with every page loaded: what is broken shows at the start."""
        from django.core.wsgi import get_wsgi_application  # noqa: PLC0415 (settings come first)
        from django.urls import get_resolver  # noqa: PLC0415 (the same)

        application = get_wsgi_application()
        _ = get_resolver().url_patterns
        return application


def _tls(_: object, standard: Any) -> SSLContext:
    context: SSLContext = standard()  # reads the files
    context.minimum_version = TLSVersion.TLSv1_2
    return context


@click.command()
def main() -> None:
    """Serve the portal until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stdout)
    try:
        found = settings.portal()
        django_settings.configure(**portal(found))
        django.setup()
        prepare(found)
    except ReadingRoomError as error:
        log.error("%s", error)
        sys.exit(error.exit_status)
    Server(found).run()


if __name__ == "__main__":
    main()

"""The outermost layer: which host name leads where, and what every answer carries.

Browsers come by the portal's own name. Hubs come by the Service's name and find the three machine pages there, nothing else.
Any other host finds nothing; `/health` is answered before a name is looked at, since a probe has none.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse

from readingroom.contract import OIDC_KEYS, OIDC_TOKEN, OIDC_USERINFO
from readingroom.entrypoints.web.settings import INSIDE_HOST, OUTSIDE_HOST

HEALTH: Final = "/health"
MACHINES: Final = frozenset({OIDC_TOKEN, OIDC_USERINFO, OIDC_KEYS})
HEADERS: Final = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # none would make the browser send `Origin: null`, which no form check can trust
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
    "X-Robots-Tag": "noindex",
}


class Doors:
    """Refuses by host, answers the probe, and sets the headers of every answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._next = get_response
        forms = " ".join(["'self'", *settings.READING_ROOM_HUBS])
        self._policy = (
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action {forms}"
        )

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """One request."""
        response = self._answer(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers["Content-Security-Policy"] = self._policy
        if response.status_code >= HTTPStatus.BAD_REQUEST or not request.path.startswith(settings.STATIC_URL):
            response.headers["Cache-Control"] = "no-store"
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.path == HEALTH:
            return _health()
        host = request.META.get("HTTP_HOST", "")
        if host == OUTSIDE_HOST or (host == INSIDE_HOST and request.path in MACHINES):
            return self._next(request)
        return HttpResponse("There is nothing here.\n", status=404, content_type="text/plain")


def _health() -> HttpResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")
    return HttpResponse("well\n", content_type="text/plain")

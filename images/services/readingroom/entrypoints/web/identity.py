"""What a hub learns of a person, and when it learns nothing: the OIDC side of the portal.

The provider is django-allauth's. Ours are the claims, the rule of entry at each of login, refresh and question, and two
strict doors before the library: it would ask PKCE of public clients only and know more flows than we want.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from allauth.idp.oidc import views as provider
from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from allauth.idp.oidc.models import Client
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST, require_safe
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidTokenError

from readingroom.adapters.db.models import Person
from readingroom.adapters.db.people import DjangoPeople
from readingroom.contract import OIDC_SCOPES, hub_callback, hub_client
from readingroom.domain.errors import Refused
from readingroom.domain.people import Handle, Subject, check_can_enter_hub, groups

log = logging.getLogger("portal")
ASKED: Final = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
)
MAY_BE_ASKED: Final = ASKED | {"nonce"}
CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636, section 4.2: SHA-256 in base64url


class HubIdentity(DefaultOIDCAdapter):  # type: ignore[misc]  # the library has no types
    """A person is known to a hub by the handle in that project, and by nothing else."""

    def get_issuer(self) -> str:
        """The one name, by whichever host the request came."""
        return str(settings.READING_ROOM_ISSUER)

    def get_user_sub(self, client: Client, user: Person) -> str:
        """The handle. Raises an error of the protocol if there is none."""
        handle = DjangoPeople().handle(Subject(str(user.pk)), _project(client.id))
        if handle is None:
            raise InvalidGrantError(description="no handle in this project")
        return handle

    def get_user_by_sub(self, client: Client, sub: str) -> Person | None:
        """Whose handle it is, while the membership lives."""
        subject = DjangoPeople().by_handle(Handle(sub), _project(client.id))
        return Person.objects.filter(id=subject).first() if subject else None

    def get_claims(
        self, purpose: str, user: Person, client: Client, scopes: Iterable[str], email: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Handle and the project's own roles. Raises an error of the protocol for who is no researcher of it now.

        Called for each token and each question, a refresh included.
        """
        project, held = _project(client.id), DjangoPeople().memberships(Subject(str(user.pk)))
        try:
            check_can_enter_hub(project, held)
        except Refused as refused:
            log.warning("%s learns nothing of %s: %s", client.id, user.pk, refused)
            wrong = InvalidTokenError if purpose == "userinfo" else InvalidGrantError
            raise wrong(description="not a researcher of this project") from refused
        handle = self.get_user_sub(client, user)
        return {"sub": handle, "handle": handle, "groups": groups(project, held)}


@require_GET
def authorize(request: HttpRequest) -> HttpResponse:
    """A hub's question, put by the browser of a person whom the gates let through.

    Every parameter is known, there once and as we expect it: code flow, S256, the hub's own address. Then the person must be
    a researcher of that project. The library does the rest, and never shows a page.
    """
    asked = request.GET
    if asked.keys() - MAY_BE_ASKED or ASKED - asked.keys() or any(len(asked.getlist(name)) != 1 for name in asked):
        return _odd(request)
    projects = {hub_client(each.id): each.id for each in settings.READING_ROOM_PROJECTS}
    project = projects.get(asked["client_id"])
    fits = (
        project is not None
        and asked["redirect_uri"] == hub_callback(project)
        and asked["response_type"] == "code"
        and asked["code_challenge_method"] == "S256"
        and CHALLENGE.fullmatch(asked["code_challenge"])
        and set(asked["scope"].split()) == set(OIDC_SCOPES)
    )
    if project is None or not fits:
        return _odd(request)
    subject = Subject(str(request.user.pk))
    try:
        check_can_enter_hub(project, DjangoPeople().memberships(subject))
    except Refused as refused:
        log.warning("%s may not enter: %s", subject, refused)
        page = {"title": "You cannot enter this project", "code": refused.which, "refused": refused, "project": project}
        return render(request, "refused.html", page, status=HTTPStatus.FORBIDDEN)
    response: HttpResponse = provider.authorization(request)
    return response if response.status_code == HTTPStatus.FOUND else _odd(request)


@csrf_exempt
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """A hub's exchange of a code or a refresh token. Name and secret are in the body, never in a header.

    The library finds the challenge of a code by the name in the body: without one it would ask for no verifier.
    """
    asked = request.POST
    if "HTTP_AUTHORIZATION" in request.META or request.GET or not asked.get("client_id"):
        return _refuse("invalid_client", HTTPStatus.UNAUTHORIZED)
    if asked.get("grant_type") not in {"authorization_code", "refresh_token"}:
        return _refuse("unsupported_grant_type")
    response: HttpResponse = provider.token(request)
    return response


@csrf_exempt
@require_safe
def userinfo(request: HttpRequest) -> HttpResponse:
    """Who the bearer of an access token is."""
    response: HttpResponse = provider.user_info(request)
    return response


@require_safe
def keys(request: HttpRequest) -> HttpResponse:
    """The public key that identity tokens are signed with."""
    response: HttpResponse = provider.jwks(request)
    return response


def _project(client: str) -> str:
    """The project of a client. Raises an error of the protocol for one that is not configured."""
    for project in settings.READING_ROOM_PROJECTS:
        if hub_client(project.id) == client:
            return str(project.id)
    raise InvalidGrantError(description="no such project")


def _odd(request: HttpRequest) -> HttpResponse:
    page = {"title": "This sign-in link is not right"}
    return render(request, "odd.html", page, status=HTTPStatus.BAD_REQUEST)


def _refuse(error: str, status: int = HTTPStatus.BAD_REQUEST) -> HttpResponse:
    return JsonResponse({"error": error}, status=status)

"""The rule of `domain.people.gate`, before every page: what is named in no list is open to a proven person alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.internal.stagekit import clear_login
from allauth.mfa.models import Authenticator
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from readingroom.domain.people import Gate, gate
from readingroom.entrypoints.web.settings import SESSION_SECONDS

WANTED: Final = "wanted"  # in the session: where the person was going when a gate stood in the way
PUBLIC: Final = frozenset({"account_login", "mfa_authenticate", "account_inactive", "token", "userinfo", "keys"})
SIGN_OUT: Final = "account_logout"
PAGE: Final = {
    Gate.ENROL: "mfa_activate_totp",
    Gate.KEEP_CODES: "mfa_view_recovery_codes",
    Gate.PROVE: "prove",
}
KEPT: Final = frozenset({"start", "authorize"})  # pages worth coming back to


class Gates:
    """Sends a person to the step that is due."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """One request."""
        return self._next(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        """None lets the request through to its page."""
        name = request.resolver_match.view_name if request.resolver_match else ""
        if name in PUBLIC:
            return None
        if request.user.is_authenticated and _too_old(request):
            logout(request)
        if not request.user.is_authenticated:
            if name == "authorize":
                clear_login(request)  # one that waits for its code would forget which hub asked
            return HttpResponseRedirect(
                f"{reverse('account_login')}?{urlencode({'next': request.get_full_path()})}"
                if request.method == "GET" and name in KEPT
                else reverse("account_login")
            )
        stands = standing(request)
        if stands is Gate.OPEN or name in {PAGE[stands], SIGN_OUT}:
            return None
        if request.method == "GET" and name in KEPT:
            request.session[WANTED] = request.get_full_path()
        return redirect(PAGE[stands])


def standing(request: HttpRequest) -> Gate:
    """Where the signed-in person of this request stands."""
    factors = {each.type: each for each in Authenticator.objects.filter(user_id=request.user.pk)}
    codes = factors.get(Authenticator.Type.RECOVERY_CODES)
    return gate(
        enrolled=Authenticator.Type.TOTP in factors,
        codes_seen=bool(codes and codes.data.get("viewed_at")),
        proven=any(record["method"] == "mfa" for record in _records(request)),
    )


def wanted(request: HttpRequest) -> str:
    """Where the person was going, told once; otherwise the start page. Only paths of ours are ever put there."""
    return str(request.session.pop(WANTED, reverse("start")))


def _too_old(request: HttpRequest) -> bool:
    """No session outlives its hours by being used, and none is without a known beginning."""
    began = [record["at"] for record in _records(request)]
    return not began or time.time() - min(began) > SESSION_SECONDS


def _records(request: HttpRequest) -> list[dict[str, Any]]:
    return get_authentication_records(request, request.user)  # type: ignore[no-any-return]  # the library has no types

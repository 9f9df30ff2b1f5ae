"""The pages. No rule stands here: `gates.py` decides who sees which, `domain/people.py` decides what a role is."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal import flows as recovery_codes
from allauth.mfa.recovery_codes.views import ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe
from django.views.generic.edit import FormView

from readingroom.adapters.db.people import DjangoPeople, end_sign_ins, end_tokens
from readingroom.domain.people import Subject
from readingroom.entrypoints.web.accounts import CodeForm
from readingroom.entrypoints.web.entries import entry
from readingroom.entrypoints.web.gates import wanted
from readingroom.entrypoints.web.qr import svg

log = logging.getLogger("portal")


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """The person's projects, with what they may do there and until when."""
    held = DjangoPeople().memberships(Subject(str(request.user.pk)))
    entries = [entry(project, held, timezone.now().date()) for project in settings.READING_ROOM_PROJECTS]
    return render(request, "start.html", {"entries": [each for each in entries if each.roles]})


class Enrol(ActivateTOTPView):  # type: ignore[misc]  # the library has no types
    """The second factor is set up here, once. Whoever else was signed in with the password alone is signed out."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Not for who is enrolled: the library would offer to undo it."""
        if Authenticator.objects.filter(user_id=request.user.pk, type=Authenticator.Type.TOTP).exists():
            return redirect("start")
        answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return answer

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The secret as a picture and as text."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        secret = context["form"].secret
        return {
            **context,
            "picture": svg(context["totp_url"]),
            "groups": [secret[place : place + 4] for place in range(0, len(secret), 4)],
        }

    def form_valid(self, form: Any) -> HttpResponse:
        """This session has proven itself, under a new key; every other session of the person ends."""
        answer: HttpResponse = super().form_valid(form)
        record_authentication(self.request, self.request.user, "mfa", type=Authenticator.Type.TOTP.value)
        self.request.session.cycle_key()
        end_sign_ins(Subject(str(self.request.user.pk)), keep=[str(self.request.session.session_key)])
        log.info("%s has set up a second factor", self.request.user.pk)
        return answer


class Codes(ViewRecoveryCodesView):  # type: ignore[misc]  # the library has no types
    """The recovery codes, shown once; afterwards only how many are left."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Codes, and where to go on."""
        return {**super().get_context_data(**kwargs), "onward": wanted(self.request)}


class _WithCode(FormView):  # type: ignore[type-arg]  # generic in the stubs alone
    """A page that asks for a code of the second factor."""

    form_class = CodeForm

    def get_form_kwargs(self) -> dict[str, Any]:
        """Whose code it must be."""
        return {**super().get_form_kwargs(), "user": self.request.user}


class Prove(_WithCode):
    """For a session that has not shown the second factor."""

    template_name = "mfa/prove.html"

    def form_valid(self, form: CodeForm) -> HttpResponse:
        """The session is proven."""
        form.save()
        return HttpResponseRedirect(wanted(self.request))


class NewCodes(_WithCode):
    """Other recovery codes instead of the present ones, against a fresh code."""

    template_name = "mfa/recovery_codes/generate.html"

    def form_valid(self, form: CodeForm) -> HttpResponse:
        """The old ones are void."""
        form.save()
        recovery_codes.generate_recovery_codes(self.request)
        log.info("%s has new recovery codes", self.request.user.pk)
        return HttpResponseRedirect(reverse("mfa_view_recovery_codes"))


@require_safe
def closed(request: HttpRequest) -> HttpResponse:
    """For somebody whose account ended between password and code."""
    return render(request, "closed.html", {"title": "This account is closed"}, status=HTTPStatus.FORBIDDEN)


def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that did not come from our page, or from one that is too old."""
    log.warning("a form was refused: %s", reason)
    page = {"title": "This form has expired"}
    return render(request, "expired.html", page, status=HTTPStatus.FORBIDDEN)


def not_found(request: HttpRequest, **_: object) -> HttpResponse:
    """No such page."""
    return render(request, "missing.html", {"title": "There is nothing here"}, status=HTTPStatus.NOT_FOUND)


def bad_request(request: HttpRequest, **_: object) -> HttpResponse:
    """Not a request of ours."""
    return render(request, "odd.html", {"title": "This request is not right"}, status=HTTPStatus.BAD_REQUEST)


def failed(_request: HttpRequest) -> HttpResponse:
    """Our fault. The page asks nothing of the database, which may be the reason."""
    text = render_to_string("failed.html", {"title": "The portal could not do this"})
    return HttpResponse(text, status=HTTPStatus.INTERNAL_SERVER_ERROR)


@receiver(user_logged_in)
def _signed_in(user: AbstractBaseUser, **_: Any) -> None:
    log.info("%s signed in", user.pk)


@receiver(user_login_failed)
def _not_signed_in(**_: Any) -> None:
    log.warning("a password was refused")


@receiver(user_logged_out)
def _signed_out(user: AbstractBaseUser | None = None, **_: Any) -> None:
    """Signing out here ends what the hubs were given: they ask again within a minute, and learn nothing."""
    if user is not None:
        end_tokens(Subject(str(user.pk)))
        log.info("%s signed out", user.pk)

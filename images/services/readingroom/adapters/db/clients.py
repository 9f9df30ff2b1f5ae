"""The OIDC clients: one for each project's hub, and no other."""

from __future__ import annotations

from collections.abc import Mapping

from allauth.idp.oidc.models import Client, Token
from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from django.utils import timezone

from readingroom.adapters.db.hashers import RandomSecretHasher
from readingroom.adapters.db.models import SignIn
from readingroom.contract import OIDC_SCOPES, hub_callback, hub_client


@transaction.atomic
def reconcile_clients(secrets: Mapping[str, str]) -> None:
    """Exactly one client per project of `secrets`; what is not listed goes, with its tokens.

    Code flow and its refresh alone, one redirect address, no question to the person: that a hub learns a handle is what
    signing in there means.
    """
    Client.objects.exclude(id__in=[hub_client(project) for project in secrets]).delete()
    for project, secret in secrets.items():
        name = hub_client(project)
        client = Client.objects.filter(id=name).first() or Client(id=name)
        client.name, client.type, client.skip_consent = name, Client.Type.CONFIDENTIAL, True
        client.set_scopes(list(OIDC_SCOPES))
        client.set_default_scopes([])
        client.set_grant_types([Client.GrantType.AUTHORIZATION_CODE.value, Client.GrantType.REFRESH_TOKEN.value])
        client.set_response_types([Client.ResponseType.CODE.value])
        client.set_redirect_uris([hub_callback(project)])
        client.set_cors_origins([])
        client.allow_uri_wildcards, client.owner, client.data = False, None, None
        if not client.secret.startswith(RandomSecretHasher.algorithm) or not check_password(secret, client.secret):
            client.secret = make_password(secret, hasher=RandomSecretHasher())
        client.save()


def forget_expired() -> None:
    """Sessions and tokens whose time is over."""
    SignIn.objects.filter(expire_date__lt=timezone.now()).delete()
    Token.objects.expired().delete()

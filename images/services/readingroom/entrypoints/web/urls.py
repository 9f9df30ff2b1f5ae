"""Every page there is. Of the libraries' own lists nothing is included: what is not here does not exist."""

from __future__ import annotations

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from django.urls import path

from readingroom.contract import OIDC_AUTHORIZE, OIDC_KEYS, OIDC_TOKEN, OIDC_USERINFO
from readingroom.entrypoints.web import identity, views

urlpatterns = [
    path("", views.start, name="start"),
    path("sign-in", account.login, name="account_login"),
    path("sign-in/code", mfa.authenticate, name="mfa_authenticate"),
    path("sign-in/closed", views.closed, name="account_inactive"),
    path("sign-out", account.logout, name="account_logout"),
    path("second-factor", views.Enrol.as_view(), name="mfa_activate_totp"),
    path("second-factor/prove", views.Prove.as_view(), name="prove"),
    path("second-factor/codes", views.Codes.as_view(), name="mfa_view_recovery_codes"),
    path("second-factor/new-codes", views.NewCodes.as_view(), name="new_codes"),
    path(OIDC_AUTHORIZE.removeprefix("/"), identity.authorize, name="authorize"),
    path(OIDC_TOKEN.removeprefix("/"), identity.token, name="token"),
    path(OIDC_USERINFO.removeprefix("/"), identity.userinfo, name="userinfo"),
    path(OIDC_KEYS.removeprefix("/"), identity.keys, name="keys"),
]

handler400 = views.bad_request
handler404 = views.not_found
handler500 = views.failed

"""Django's settings, from typed ones. Two sets: what the tables need, and what the portal needs besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from readingroom.adapters.db.hashers import HASHERS
from readingroom.contract import (
    FRONT_DOOR_PORT,
    OIDC_ISSUER,
    PORT_PORTAL,
    PORTAL_HOST,
    SERVICE_PORTAL,
    SYSTEM,
    project_host,
)
from readingroom.entrypoints.settings import DatabaseSettings, PortalSettings

HOUR: Final = 3600
SESSION_SECONDS: Final = 12 * HOUR  # workspaces, section 3: refresh token and session 12 h, access token 5 min
INSIDE: Final = f"{SERVICE_PORTAL}.{SYSTEM}.svc"
OUTSIDE_HOST: Final = f"{PORTAL_HOST}:{FRONT_DOOR_PORT}"
INSIDE_HOST: Final = f"{INSIDE}:{PORT_PORTAL}"
_HERE: Final = Path(__file__).parent
_WEB: Final = "readingroom.entrypoints.web"


def tables(database: DatabaseSettings) -> dict[str, Any]:
    """What whoever touches the tables needs: the database, opened by certificate both ways, and the models' apps."""
    return {
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": database.host,
                "PORT": database.port,
                "NAME": database.name,
                "USER": database.name,
                "CONN_MAX_AGE": 60,
                "CONN_HEALTH_CHECKS": True,
                "OPTIONS": {
                    "sslmode": "verify-full",
                    "sslcert": str(database.certificate),
                    "sslkey": str(database.key),
                    "sslrootcert": str(database.authority),
                    "connect_timeout": 5,
                },
            }
        },
        "INSTALLED_APPS": [
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "readingroom.adapters.db.apps.PeopleConfig",
            "allauth",
            "allauth.account",
            "allauth.mfa",
            "allauth.idp.oidc",
        ],
        "AUTH_USER_MODEL": "people.Person",
        "ACCOUNT_USER_MODEL_EMAIL_FIELD": None,
        "PASSWORD_HASHERS": HASHERS,
        "SESSION_ENGINE": "readingroom.adapters.db.sessions",
        "MIDDLEWARE": ["allauth.account.middleware.AccountMiddleware"],
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "USE_TZ": True,
        "TIME_ZONE": "UTC",
        "USE_I18N": False,
        "LOGGING_CONFIG": None,
    }


def portal(settings: PortalSettings) -> dict[str, Any]:
    """All of Django's settings for the portal's process."""
    return {**tables(settings.database), **_pages(settings), **_sign_in(), **_provider(settings)}


def _pages(settings: PortalSettings) -> dict[str, Any]:
    return {
        "DEBUG": False,
        "SECRET_KEY": settings.secret("django_secret_key"),
        "ROOT_URLCONF": f"{_WEB}.urls",
        "ALLOWED_HOSTS": [PORTAL_HOST, INSIDE],
        "MIDDLEWARE": [
            f"{_WEB}.doors.Doors",
            "whitenoise.middleware.WhiteNoiseMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "allauth.account.middleware.AccountMiddleware",
            f"{_WEB}.gates.Gates",
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [_HERE / "templates"],
                "APP_DIRS": False,  # a page that we did not write is never shown
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
        # Codes and counters of attempts, in the database: workers share them, and a restart forgets none.
        "CACHES": {
            "default": {
                "BACKEND": "django.core.cache.backends.db.DatabaseCache",
                "LOCATION": "portal_cache",
                "OPTIONS": {"MAX_ENTRIES": 100_000},
            }
        },
        "STATIC_URL": "/static/",
        "STATIC_ROOT": _HERE / "static",
        "WHITENOISE_MAX_AGE": HOUR,
        "WHITENOISE_ALLOW_ALL_ORIGINS": False,
        "SESSION_COOKIE_NAME": "__Host-session",
        "SESSION_COOKIE_AGE": SESSION_SECONDS,
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_SAMESITE": "Lax",  # a hub sends people here from another site
        "CSRF_COOKIE_NAME": "__Host-csrf",
        "CSRF_COOKIE_AGE": None,
        "CSRF_COOKIE_SECURE": True,
        "CSRF_COOKIE_HTTPONLY": True,
        "CSRF_COOKIE_SAMESITE": "Lax",
        "CSRF_FAILURE_VIEW": f"{_WEB}.views.forged",
        "DATA_UPLOAD_MAX_MEMORY_SIZE": 64 * 1024,
        "DATA_UPLOAD_MAX_NUMBER_FIELDS": 32,
        "READING_ROOM_PROJECTS": settings.projects,
        # A form may lead, by redirects, to a hub: the browser asks for leave for the whole way.
        "READING_ROOM_HUBS": tuple(f"https://{project_host(each.id)}:{FRONT_DOOR_PORT}" for each in settings.projects),
    }


def _sign_in() -> dict[str, Any]:
    """Accounts are made by a roster: no sign-up, no e-mail, no other provider, no reset but by people."""
    return {
        "AUTHENTICATION_BACKENDS": ["django.contrib.auth.backends.ModelBackend"],
        "LOGIN_URL": "account_login",
        "LOGIN_REDIRECT_URL": "start",
        "ACCOUNT_LOGOUT_REDIRECT_URL": "account_login",
        "ACCOUNT_ADAPTER": f"{_WEB}.accounts.Accounts",
        "ACCOUNT_LOGIN_METHODS": {"username"},
        "ACCOUNT_SIGNUP_FIELDS": ["username*", "password1*"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "ACCOUNT_SESSION_REMEMBER": False,
        "ACCOUNT_LOGIN_TIMEOUT": 300,
        # All browsers come through one front door, so that an address is the whole house; a name is one person.
        "ACCOUNT_RATE_LIMITS": {"login": "300/m/ip", "login_failed": "60/m/ip,5/300s/key"},
        "MFA_ADAPTER": f"{_WEB}.accounts.SecondFactors",
        "MFA_SUPPORTED_TYPES": ["totp", "recovery_codes"],
        "MFA_TOTP_ISSUER": "Reading Room",
        "MFA_TOTP_TOLERANCE": 1,  # RFC 6238, section 5.2: one step for a phone's clock
        "MFA_FORMS": {
            "authenticate": f"{_WEB}.accounts.CodeForm",
            "activate_totp": f"{_WEB}.accounts.FirstCodeForm",
        },
        "MFA_RECOVERY_CODES_SHOW_ONCE": True,
        "MFA_RECOVERY_CODE_DIGITS": 10,
        "MFA_REAUTHENTICATION_REQUIRED": False,  # new recovery codes ask for a code of their own accord
    }


def _provider(settings: PortalSettings) -> dict[str, Any]:
    return {
        "IDP_OIDC_ADAPTER": f"{_WEB}.identity.HubIdentity",
        "IDP_OIDC_PRIVATE_KEY": settings.secret("oidc_private_key"),
        "IDP_OIDC_ACCESS_TOKEN_EXPIRES_IN": 300,
        "IDP_OIDC_REFRESH_TOKEN_EXPIRES_IN": SESSION_SECONDS,
        "IDP_OIDC_AUTHORIZATION_CODE_EXPIRES_IN": 60,
        "IDP_OIDC_AUTH_METHODS": ["client_secret_post"],
        "READING_ROOM_ISSUER": OIDC_ISSUER,
    }

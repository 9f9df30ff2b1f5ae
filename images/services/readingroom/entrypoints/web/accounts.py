"""What we change in django-allauth's accounts: no sign-up, no code twice, secrets enciphered at rest."""

from __future__ import annotations

import base64
import re
from typing import Any, Final

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import cache
from django.http import HttpRequest

ONCE_SECONDS: Final = 120  # longer than a code lives with one step of tolerance on either side
LONGEST: Final = {"login": 64, "password": 256, "code": 16}


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]  # the library has no types
    """Accounts come from the roster."""

    error_messages: Final = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": "User name or password is wrong.",
        "too_many_login_attempts": "Too many attempts. Wait five minutes, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        """As stock, but what is too long to be anybody's is nobody's, and costs no hashing."""
        if (
            len(credentials.get("username", "")) > LONGEST["login"]
            or len(credentials["password"]) > LONGEST["password"]
        ):
            return None
        found: AbstractBaseUser | None = super().authenticate(request, **credentials)
        return found


class SecondFactors(DefaultMFAAdapter):  # type: ignore[misc]  # the library has no types
    """Seeds of codes lie in the database under a key that the database does not hold."""

    error_messages: Final = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code is wrong, or was used already. Wait for the next one.",
    }

    def encrypt(self, text: str) -> str:
        """Under a key drawn from the portal's own."""
        return _cipher().encrypt(text.encode()).decode("ascii")

    def decrypt(self, encrypted_text: str) -> str:
        """Counterpart of `encrypt`."""
        return _cipher().decrypt(encrypted_text.encode()).decode()


class _Once:
    """A code is good once: also within the steps of tolerance, and also the one that enrolled."""

    user: AbstractBaseUser
    cleaned_data: dict[str, Any]

    def clean_code(self) -> str:
        """The code without spaces. Raises what the stock form raises, and the same for a code seen before."""
        self.cleaned_data["code"] = code = re.sub(r"[\s-]", "", self.cleaned_data["code"])
        if len(code) > LONGEST["code"]:
            raise SecondFactors().validation_error("incorrect_code")
        super().clean_code()  # type: ignore[misc]  # of the form beside it
        if not cache.add(f"code-used:{self.user.pk}:{code}", True, ONCE_SECONDS):
            raise SecondFactors().validation_error("incorrect_code")
        return code


class CodeForm(_Once, AuthenticateForm):  # type: ignore[misc]  # the library has no types
    """The second step of signing in, and the proof asked for later."""


class FirstCodeForm(_Once, ActivateTOTPForm):  # type: ignore[misc]  # the library has no types
    """The code that shows that an authenticator app was set up."""


def _cipher() -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"readingroom/portal/second-factor")
    return Fernet(base64.urlsafe_b64encode(key.derive(settings.SECRET_KEY.encode())))

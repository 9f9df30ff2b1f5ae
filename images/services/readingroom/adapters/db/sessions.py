"""Django's session store, writing whose session it is beside the data. Named by `SESSION_ENGINE`."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession

from readingroom.adapters.db.models import SignIn


class SessionStore(DatabaseStore):
    """Sessions in the table of `SignIn`."""

    @classmethod
    def get_model_class(cls) -> type[AbstractBaseSession]:
        """Our table."""
        return SignIn

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        """The row, with the person whom the session is signed in for."""
        row: Any = super().create_model_instance(data)
        row.person = data.get(SESSION_KEY)
        return row  # type: ignore[no-any-return]  # Django types the row by its own table

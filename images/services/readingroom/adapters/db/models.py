"""Tables of people. Rows of roles and handles are ended, never deleted, so nothing that was true can be given to another."""

from __future__ import annotations

import uuid
from datetime import datetime
from importlib import import_module
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models import Q


class Person(AbstractBaseUser):
    """One human being with a login. No permission, no staff flag: roles are memberships and nothing else."""

    id: models.UUIDField[uuid.UUID | str, uuid.UUID] = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False
    )
    username: models.CharField[str, str] = models.CharField(max_length=64, unique=True)
    display: models.CharField[str, str] = models.CharField(max_length=120)
    is_active: models.BooleanField[bool, bool] = models.BooleanField(default=True)

    objects = BaseUserManager["Person"]()

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["display"]

    def __str__(self) -> str:
        """The id, so that a stray log line or error page holds no name."""
        return str(self.id)


class Role(models.Model):
    """One role of one person in one project, from `since` until `ended`."""

    person: models.ForeignKey[Person, Person] = models.ForeignKey(
        Person, on_delete=models.PROTECT, related_name="roles"
    )
    person_id: uuid.UUID
    project: models.CharField[str, str] = models.CharField(max_length=20)
    role: models.CharField[str, str] = models.CharField(max_length=20)
    since: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    ended: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["person", "project", "role"], condition=Q(ended__isnull=True), name="one_open_row_per_role"
            )
        ]

    def __str__(self) -> str:
        """The role by ids."""
        return f"{self.role} of {self.person_id} in {self.project}"


class ProjectHandle(models.Model):
    """The name of one person in one project, never given to anyone else."""

    person: models.ForeignKey[Person, Person] = models.ForeignKey(
        Person, on_delete=models.PROTECT, related_name="handles"
    )
    person_id: uuid.UUID
    project: models.CharField[str, str] = models.CharField(max_length=20)
    handle: models.CharField[str, str] = models.CharField(max_length=8, unique=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["person", "project"], name="one_handle_per_person_and_project")
        ]

    def __str__(self) -> str:
        """The handle."""
        return self.handle


class SignIn(AbstractBaseSession):
    """One browser's session, with whose it is beside the signed data: who has no key to read it can still end it."""

    person: models.UUIDField[uuid.UUID | str | None, uuid.UUID | None] = models.UUIDField(null=True, db_index=True)

    class Meta(AbstractBaseSession.Meta):
        abstract = False

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        """The store that writes these rows."""
        found: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore  # it imports this module
        return found

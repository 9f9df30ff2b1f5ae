"""How Django knows this folder."""

from __future__ import annotations

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    """The tables of people."""

    name = "readingroom.adapters.db"
    label = "people"
    default_auto_field = "django.db.models.BigAutoField"

"""The proof that a person was erased. It says what went, and nothing of who it was."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.studies.models import Study


class Certificate(models.Model):
    """One erasure, done: whose key was destroyed, when, and how many rows went with it."""

    study = models.ForeignKey(Study, models.CASCADE, related_name="erasures")
    pseudonym = models.CharField(max_length=40)
    key_id = models.UUIDField(unique=True, help_text="The key that was destroyed; its number opens nothing.")
    erased_at = models.DateTimeField()
    removed = models.JSONField(help_text="Kind of row → how many.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the certificate's text.")

    objects: ClassVar[models.Manager[Certificate]] = ScopedManager(study="study")

    def __str__(self) -> str:
        return f"{self.pseudonym} erased"

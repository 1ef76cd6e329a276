"""Which studies were imported when they were over, from what."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.studies.models import Study


class FinishedStudyImport(models.Model):
    """One import: how the files were read, what became of their rows, and a digest that only this server can make."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="imports")
    format = models.CharField(max_length=20)
    files_digest = models.CharField(max_length=64, help_text="HMAC of the files' SHA-256, under a key of this server.")
    report = models.JSONField(help_text="Counts of rows by what they were, what was inferred, and what was left out.")
    imported_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[FinishedStudyImport]] = ScopedManager(study="study")

    def __str__(self) -> str:
        return f"import of {self.study}"

"""Which data left, when and with whom."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.studies.models import Study


class Export(models.Model):
    """One file of a study's data. Written down before its first byte goes out; what was broken off has no end."""

    class Shape(models.TextChoices):
        PROMPTS = "prompts", "one row for each prompt"
        ANSWERS = "answers", "one row for each answer"

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        PARQUET = "parquet", "Parquet"
        SPSS = "spss", "SPSS"
        BUNDLE = "bundle", "everything in one ZIP"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="exports")
    by = models.ForeignKey(
        "accounts.User",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="None: the server.",
    )
    shape = models.CharField(max_length=10, choices=Shape)
    format = models.CharField(max_length=10, choices=Format)
    with_text = models.BooleanField(default=False, help_text="Whether sealed answers were opened for it.")
    cutoff = models.DateTimeField(help_text="Answers received up to here are in it.")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    rows = models.PositiveIntegerField(null=True, blank=True)
    digest = models.CharField(max_length=64, blank=True, default="", help_text="SHA-256 of the file.")

    objects: ClassVar[models.Manager[Export]] = ScopedManager(study="study")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.shape} as {self.format}"

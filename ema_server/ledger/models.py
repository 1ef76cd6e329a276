"""What must happen. A row is written with the fact that asks for it; Celery only wakes the worker that claims it."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Job(models.Model):
    """One piece of required work: done once `done_at` is set, given up (for a person to look at) once `dead_at` is.

    Neither the key nor the payload may hold personal data: they name things by their ids.
    """

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=200, help_text="The effect's own name: the same work asked for twice is one row.")
    payload = models.JSONField(default=dict)
    due_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Since it was asked for (again).")
    deaths = models.PositiveSmallIntegerField(db_default=0, help_text="Attempts that ended with their worker.")
    claims = models.PositiveIntegerField(
        db_default=0,
        help_text="The fence: counts every claim there ever was, so that an old one is never taken for a new.",
    )
    leased_until = models.DateTimeField(null=True, blank=True)
    leased_by = models.CharField(
        max_length=120, blank=True, db_default="", help_text="host:process of the newest claim."
    )
    progress = models.CharField(max_length=200, blank=True, default="")
    last_error = models.TextField(blank=True, default="")
    done_at = models.DateTimeField(null=True, blank=True)
    dead_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="one_job_per_effect")]
        indexes = [
            models.Index(
                fields=["kind", "due_at"],
                name="jobs_waiting",
                condition=models.Q(done_at__isnull=True, dead_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"

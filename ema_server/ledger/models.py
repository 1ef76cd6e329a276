"""What must happen. A row is written with the fact that asks for it; Celery only wakes the worker that claims it."""

from __future__ import annotations

from django.db import models


class Job(models.Model):
    """One piece of required work: done once `done_at` is set, given up (for a person to look at) once `dead_at` is."""

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=200, help_text="The effect's own name: the same work asked for twice is one row.")
    payload = models.JSONField(default=dict)
    due_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)
    progress = models.CharField(max_length=200, blank=True, default="")
    last_error = models.TextField(blank=True, default="")
    done_at = models.DateTimeField(null=True, blank=True)
    dead_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

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

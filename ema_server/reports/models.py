"""What will be fitted, and what each night found."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.studies.models import SamplingPlan, Study


class AnalysisPlan(models.Model):
    """What a night fits: models, row rules, derived columns, mode. Hashed; a change is a new version."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="analysis_plans")
    number = models.PositiveIntegerField()
    document = models.JSONField()
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    locked_at = models.DateTimeField(null=True, blank=True, help_text="From then on what it uses keeps its meaning.")

    objects: ClassVar[models.Manager[AnalysisPlan]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_analysis_plan_version")]

    def __str__(self) -> str:
        return f"analysis plan v{self.number} of {self.study}"


class Report(models.Model):
    """One night's run: what was read, by which plan and code, and what was found. Never overwritten."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="reports")
    plan = models.ForeignKey(AnalysisPlan, on_delete=models.RESTRICT)
    night = models.DateField(help_text="The local day that this night closed.")
    cutoff = models.DateTimeField(help_text="Answers received up to here were read.")
    n_rows = models.PositiveIntegerField()
    data_hash = models.CharField(max_length=64)
    plan_hash = models.CharField(max_length=64)
    code_version = models.CharField(max_length=60)
    results = models.JSONField()
    figures = models.JSONField(default=dict, help_text="Name → SVG.")
    seconds = models.FloatField(help_text="From the read to the last figure.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[Report]] = ScopedManager(study="study")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "night", "data_hash", "plan_hash", "code_version"],
                name="one_report_per_night_and_inputs",
            )
        ]
        ordering = ["-night", "-id"]

    def __str__(self) -> str:
        return f"{self.study}, night of {self.night}"


class PlanForecast(models.Model):
    """How wide the intervals of a plan may be expected to be, by simulation: what was asked for, and its answer once it is there."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="plan_forecasts")
    sampling_plan = models.ForeignKey(SamplingPlan, on_delete=models.CASCADE, related_name="+")
    people = models.PositiveIntegerField()
    asked_at = models.DateTimeField()
    words = models.JSONField(null=True, help_text="Sentences; empty until it is made.")

    objects: ClassVar[models.Manager[PlanForecast]] = ScopedManager(study="study")

    def __str__(self) -> str:
        return f"forecast for {self.people} people"

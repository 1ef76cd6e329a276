"""The prompt ledger: what was asked of whom and when, and everything that is known to have happened to it."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.participants.models import Device, Participant
from ema_server.studies.models import SamplingPlan, Study
from ema_server.vault.fields import Seal, SealedField


class Prompt(models.Model):
    """One planned prompt: in UTC, with the local wall time, offset and zone by which it was planned."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="prompts")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="prompts")
    plan = models.ForeignKey(SamplingPlan, on_delete=models.RESTRICT)
    rule = models.CharField(max_length=40)
    questionnaire = models.SlugField()
    day = models.PositiveIntegerField()
    slot = models.PositiveSmallIntegerField()
    scheduled_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    local_date = models.DateField()
    local_time = models.TimeField()
    utc_offset_minutes = models.SmallIntegerField()
    zone = models.CharField(max_length=64)
    practice = models.BooleanField(default=False)
    wave = models.CharField(max_length=40, blank=True, default="", db_default="")

    objects: ClassVar[models.Manager[Prompt]] = ScopedManager(study="study")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "rule", "day", "slot"], name="one_prompt_per_slot")
        ]
        indexes = [models.Index(fields=["study", "scheduled_at"])]

    def __str__(self) -> str:
        return f"{self.questionnaire} day {self.day} slot {self.slot}"


class PromptEvent(models.Model):
    """Something that happened to a prompt, with a reason and two clocks. Written once, never changed."""

    class Kind(models.TextChoices):
        QUEUED = "queued"
        SENT = "sent"
        DELIVERED = "delivered"
        SHOWN = "shown"
        OPENED = "opened"
        DISMISSED = "dismissed"
        STARTED = "started"
        COMPLETED = "completed"
        EXPIRED = "expired"
        CANCELLED = "cancelled"
        REISSUED = "reissued"  # the phone asked again for the same moment
        RESCHEDULED = "rescheduled"  # the person's zone changed

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="prompt_events")
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="events")
    device = models.ForeignKey(Device, on_delete=models.SET_NULL, null=True, blank=True)
    client_id = models.UUIDField(default=uuid.uuid4)
    kind = models.CharField(max_length=12, choices=Kind)
    reason = models.CharField(max_length=200, blank=True, default="", help_text="The server's own words.")
    note = SealedField(null=True, help_text="The phone's reason.")
    phone_at = models.DateTimeField(
        null=True, blank=True, help_text="Empty where the phone's clock cannot be believed."
    )
    phone_text = models.CharField(max_length=40, blank=True, default="", help_text="The phone's time as it was sent.")
    received_at = models.DateTimeField()

    objects: ClassVar[models.Manager[PromptEvent]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "client_id"], name="one_prompt_event_per_client_id")]
        indexes = [models.Index(fields=["study", "kind"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.prompt_id}"

    @property
    def seal(self) -> Seal:
        return Seal(self.prompt.participant.key_id, self.study_id, str(self.client_id))

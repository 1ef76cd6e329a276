"""What phones sent. Nothing here is ever edited; lateness and exclusion are derived later, by the night.

Free text, and whatever else could say who somebody is, is ciphertext under the person's key: `payload` holds what can be
analysed, `sealed` the rest, and `responses.content` puts the two together again.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.common.phone_time import bounded
from ema_server.participants.models import Device, Participant
from ema_server.sampling.models import Prompt
from ema_server.studies.models import Study, SurveyVersion
from ema_server.vault.fields import Seal, SealedField


class Submission(models.Model):
    """One filled-in questionnaire, as it arrived: immutable payload, digest, three clocks."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="submissions", db_index=False)
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="submissions")
    device = models.ForeignKey(Device, on_delete=models.RESTRICT)
    client_id = models.UUIDField(help_text="The phone's own name for it: the key of exactly-once.")
    digest = models.CharField(max_length=64, help_text="HMAC of the whole content, under the person's key.")
    survey_version = models.ForeignKey(SurveyVersion, on_delete=models.RESTRICT, help_text="What the person was shown.")
    prompt = models.ForeignKey(
        Prompt, on_delete=models.RESTRICT, null=True, blank=True, help_text="Empty for an orphan."
    )
    payload = models.JSONField()
    sealed = SealedField(null=True)
    complete = models.BooleanField(default=True, help_text="False where the questionnaire was broken off or expired.")
    answered_at = models.DateTimeField(
        null=True, blank=True, help_text="By the phone's clock, where it can be believed."
    )
    utc_offset_minutes = models.SmallIntegerField(null=True, blank=True)
    received_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Submission]] = ScopedManager(study="study")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "client_id"], name="one_submission_per_client_id"),
            bounded("answered_at", name="answered_at_can_be_read_back"),
        ]
        indexes = [
            models.Index(fields=["study", "received_at"]),
            models.Index(
                fields=["study", "prompt"],
                include=["complete", "answered_at", "received_at"],
                condition=models.Q(prompt__isnull=False),
                name="answers_to_prompts",
            ),
        ]

    def __str__(self) -> str:
        return str(self.client_id)

    @property
    def seal(self) -> Seal:
        return Seal(self.participant.key_id, self.study_id, str(self.client_id))


class Conflict(models.Model):
    """The same client id with other content: both are kept, the first stays current."""

    submission = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="conflicts")
    digest = models.CharField(max_length=64)
    payload = models.JSONField()
    sealed = SealedField(null=True)
    received_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Conflict]] = ScopedManager(study="submission__study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["submission", "digest"], name="one_conflict_per_content")]

    def __str__(self) -> str:
        return f"conflict with {self.submission_id}"

    @property
    def seal(self) -> Seal:
        submission = self.submission
        return Seal(submission.participant.key_id, submission.study_id, f"{submission.client_id}|{self.digest}")


class Quarantined(models.Model):
    """What could not be accepted, byte for byte, written before the phone hears "rejected"."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="quarantine")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE)
    device = models.ForeignKey(Device, on_delete=models.RESTRICT)
    client_id = models.UUIDField(null=True, blank=True, help_text="What the phone calls it, where that can be read.")
    digest = models.CharField(max_length=64)
    body = SealedField()
    code = models.CharField(max_length=40)
    detail = SealedField(help_text="Why, in words that may repeat what was sent.")
    received_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Quarantined]] = ScopedManager(study="study")

    class Meta:
        verbose_name_plural = "quarantined"
        constraints = [models.UniqueConstraint(fields=["device", "digest"], name="one_quarantined_copy")]

    def __str__(self) -> str:
        return f"{self.code} from {self.device}"

    @property
    def seal(self) -> Seal:
        return Seal(self.participant.key_id, self.study_id, f"{self.device_id}|{self.digest}")


class Upload(models.Model):
    """One batch that a phone sent: how many of its items were new, known, contradictory or refused."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="uploads")
    device = models.ForeignKey(Device, on_delete=models.SET_NULL, null=True, help_text="Empty once it was erased.")
    received_at = models.DateTimeField()
    stored = models.PositiveIntegerField(default=0)
    duplicate = models.PositiveIntegerField(default=0)
    conflict = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)

    objects: ClassVar[models.Manager[Upload]] = ScopedManager(study="study")

    def __str__(self) -> str:
        return f"{self.device or 'a phone'}: {self.stored} stored"

"""A study and what it asks: its members, its questionnaires' versions, its sampling plans."""

from __future__ import annotations

import secrets
from datetime import time
from typing import ClassVar
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django_scopes import ScopedManager

from ema_server.surveys.document import Survey, read_once


def new_secret() -> bytes:
    return secrets.token_bytes(32)


def known_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValidationError(f"{name!r} is no IANA time zone; write one like Europe/Amsterdam.") from error


class Study(models.Model):
    """A tenant. Every query starts from a study or from one of its participants."""

    class State(models.TextChoices):
        DRAFT = "draft"
        LIVE = "live"
        PAUSED = "paused"
        ENDED = "ended"
        LOCKED = "locked"

    slug = models.SlugField(unique=True)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    source = models.TextField(blank=True, default="", help_text="Where the data come from, with their licence.")
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    simulated_truth = models.JSONField(
        null=True, blank=True, help_text="Set where the answers are simulated: what they were made from."
    )
    zone = models.CharField(max_length=64, default="UTC", validators=[known_zone])
    starts_on = models.DateField()
    ends_on = models.DateField()
    night_at = models.TimeField(default=time(2), help_text="Local time at which the night closes the day before.")
    secret = models.BinaryField(default=new_secret, editable=False, help_text="Seeds the draws of prompt times.")
    locked_at = models.DateTimeField(null=True, blank=True)
    require_mfa = models.BooleanField(
        default=False, db_default=False, help_text="Its pages open to sessions with a second factor alone."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "studies"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_on__gte=models.F("starts_on")), name="study_ends_after_it_starts"
            )
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def simulated(self) -> bool:
        return self.simulated_truth is not None


class Membership(models.Model):
    """What a researcher may do in a study."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ANALYST = "analyst"
        COORDINATOR = "coordinator"
        VIEWER = "viewer"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role)
    site = models.CharField(
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text="A coordinator of one site sees its people alone.",
    )

    objects: ClassVar[models.Manager[Membership]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "user"], name="one_role_per_study")]

    def __str__(self) -> str:
        return f"{self.user}: {self.role} of {self.study}"


class Invitation(models.Model):
    """Who was asked by mail to join a study. The link's token exists in that mail alone; here lies its digest."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=12, choices=Membership.Role)
    site = models.CharField(max_length=40, blank=True, default="")
    token_digest = models.CharField(max_length=64, unique=True, null=True, blank=True, help_text="SHA-256")
    invited_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    invited_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[Invitation]] = ScopedManager(study="study")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "study",
                Lower("email"),
                name="one_open_invitation_per_address",
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return f"invitation {self.pk} to {self.study}"

    @property
    def audit_name(self) -> str:
        return f"invitation:{self.pk}"


class SurveyVersion(models.Model):
    """What a questionnaire asked, as shown. Never edited: publishing makes a new one."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="survey_versions")
    questionnaire = models.SlugField()
    number = models.PositiveIntegerField()
    document = models.JSONField()
    digest = models.CharField(max_length=64)
    published_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[SurveyVersion]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "questionnaire", "number"], name="one_survey_version")]

    def __str__(self) -> str:
        return f"{self.questionnaire} v{self.number}"

    @property
    def survey(self) -> Survey:
        """The document as values."""
        return read_once(self.digest, self.document)


class SamplingPlan(models.Model):
    """Rules that become prompts. Immutable once used; a change is a new version."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="sampling_plans")
    number = models.PositiveIntegerField()
    document = models.JSONField()
    digest = models.CharField(max_length=64)
    published_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[SamplingPlan]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_sampling_plan_version")]

    def __str__(self) -> str:
        return f"sampling plan v{self.number}"

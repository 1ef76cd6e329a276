"""A study and what it asks: its members, its questionnaires' versions, its sampling plans."""

from __future__ import annotations

import secrets
from datetime import time
from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django_scopes import ScopedManager

from ema_server.common.zones import is_zone
from ema_server.surveys.document import Survey, read_once


def new_secret() -> bytes:
    return secrets.token_bytes(32)


def no_structure() -> dict[str, list[dict[str, str]]]:
    return {"arms": [], "sites": [], "roles": []}


def known_zone(name: str) -> None:
    if not is_zone(name):
        raise ValidationError(f"{name[:64]!r} is no IANA time zone; write one like Europe/Amsterdam.")


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
    structure = models.JSONField(
        default=no_structure, db_default=no_structure(), help_text="Arms, sites, roles in a dyad: studies/structure.py."
    )
    quiet_since = models.DateTimeField(null=True, blank=True, help_text="Paused or ended: since when it asks nothing.")
    keep_until = models.DateField(null=True, blank=True, help_text="Until when the data are kept.")
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

    @property
    def days(self) -> int:
        return (self.ends_on - self.starts_on).days + 1


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


class SurveyDraft(models.Model):
    """One revision of a questionnaire that is being written, as it was typed. Revisions are added and never changed."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="survey_drafts")
    questionnaire = models.SlugField()
    number = models.PositiveIntegerField()
    based_on = models.PositiveIntegerField(null=True, help_text="The revision that the editor had before them.")
    aside = models.BooleanField(default=False, help_text="Somebody else had saved meanwhile: kept, and not the newest.")
    text = models.TextField(help_text="JSON as typed, also where it is faulty.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the text")
    source = models.CharField(max_length=200, help_text="typed, a file's name, or copy of version n")
    lost = models.JSONField(default=list, help_text="What an import could not carry over.")
    edited_by = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+")
    edited_at = models.DateTimeField()

    objects: ClassVar[models.Manager[SurveyDraft]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "questionnaire", "number"], name="one_draft_revision")]

    def __str__(self) -> str:
        return f"{self.questionnaire} draft {self.number}"

    @property
    def editor_name(self) -> str:
        return str(self.edited_by) if self.edited_by else "the server"


class SamplingPlan(models.Model):
    """Rules that become prompts. Immutable once used; a change is a new version."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="sampling_plans")
    number = models.PositiveIntegerField()
    document = models.JSONField()
    versions = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="By rule: the number of the plan in which its moments were first asked for in this way.",
    )
    digest = models.CharField(max_length=64)
    published_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[SamplingPlan]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_sampling_plan_version")]

    def __str__(self) -> str:
        return f"sampling plan v{self.number}"


class ConsentText(models.Model):
    """What people agree to, in each language. Never edited: publishing makes a new version."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="consent_texts")
    number = models.PositiveIntegerField()
    texts = models.JSONField(help_text='{"en": "I agree …", "nl": "…"}')
    digest = models.CharField(max_length=64)
    must_consent_anew = models.BooleanField(
        default=False, help_text="Whoever agreed to an earlier version is asked again."
    )
    published_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[ConsentText]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_consent_text_version")]

    def __str__(self) -> str:
        return f"consent text v{self.number}"

    @property
    def version(self) -> str:
        """As phones name it."""
        return str(self.number)


class CrisisCard(models.Model):
    """Whom people can turn to at once: what phones show when an alert's condition holds. Never edited: publishing makes a
    new version."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="crisis_cards")
    number = models.PositiveIntegerField()
    card = models.JSONField(help_text='{"en": {"title": "…", "text": "…", "contacts": [{"label": "…", "phone": "…"}]}}')
    digest = models.CharField(max_length=64)
    published_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[CrisisCard]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_crisis_card_version")]

    def __str__(self) -> str:
        return f"crisis card v{self.number}"

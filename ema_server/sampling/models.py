"""The prompt ledger: what was asked of whom and when, and everything that is known to have happened to it."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.common.phone_time import bounded
from ema_server.participants.models import Device, Participant
from ema_server.studies.models import SamplingPlan, Study
from ema_server.vault.fields import Seal, SealedField


class ScheduleChange(models.Model):
    """An edit of what lies ahead: a new version of the plan for everybody, or another schedule for one person. Who, why, from
    when; what it did is counted when it has reached everybody."""

    class Effect(models.TextChoices):
        NEXT_DAY = "next_day", "from each person's next day"
        AT_ONCE = "at_once", "at once"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="schedule_changes")
    number = models.PositiveIntegerField()
    plan = models.ForeignKey(SamplingPlan, on_delete=models.RESTRICT, related_name="+", help_text="In force after it.")
    participant = models.ForeignKey(
        Participant, on_delete=models.CASCADE, null=True, blank=True, help_text="Empty where it is for everybody."
    )
    effect = models.CharField(max_length=10, choices=Effect, default=Effect.NEXT_DAY)
    before = models.JSONField(default=dict, help_text="The person's days and schedule, or the number of the plan.")
    after = models.JSONField(default=dict)
    undoes = models.OneToOneField("self", on_delete=models.CASCADE, null=True, blank=True, related_name="undone_by")
    reason = models.CharField(max_length=500, blank=True, default="")
    actor = models.CharField(max_length=60)
    made_at = models.DateTimeField()
    people = models.PositiveIntegerField(default=0, help_text="Whom it concerns.")
    counts = models.JSONField(null=True, help_text="What it did; empty until it has reached everybody.")

    objects: ClassVar[models.Manager[ScheduleChange]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_schedule_change_per_number")]

    def __str__(self) -> str:
        return f"change {self.number}"


class Planning(models.Model):
    """One drawing of one person's prompts, with all that it depended on: from it any moment can be derived again."""

    class Cause(models.TextChoices):
        ENROLMENT = "enrolment"
        WITHDRAWAL = "withdrawal"
        PLAN = "plan", "a new version of the plan"
        SCHEDULE = "schedule", "a change of this person's schedule"
        ZONE = "zone", "a new time zone"
        FOLLOW_UP = "follow_up", "an answer"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="plannings")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="plannings")
    plan = models.ForeignKey(SamplingPlan, on_delete=models.RESTRICT)
    change = models.ForeignKey(
        ScheduleChange, on_delete=models.CASCADE, null=True, blank=True, related_name="plannings"
    )
    cause = models.CharField(max_length=10, choices=Cause)
    facts = models.JSONField(help_text="Days, zone, arm and schedule of the person: sampling/planning.py")
    counts = models.JSONField(default=dict, help_text="What it did to the prompts ahead.")
    made_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Planning]] = ScopedManager(study="study")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["change", "participant"],
                condition=models.Q(change__isnull=False),
                name="one_planning_per_change_and_person",
            )
        ]

    def __str__(self) -> str:
        return f"{self.cause} of {self.participant_id}"


class Prompt(models.Model):
    """One planned prompt: in UTC, with the local wall time, offset and zone by which it was planned."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Without indexes of their own: others begin with them. Each index costs at every write.
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="prompts", db_index=False)
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="prompts", db_index=False)
    plan = models.ForeignKey(SamplingPlan, on_delete=models.RESTRICT)
    rule = models.CharField(max_length=40)
    questionnaire = models.SlugField(db_index=False)
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
    grace_minutes = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How long whoever has started may go on after it expired."
    )
    planning = models.ForeignKey(
        Planning, on_delete=models.CASCADE, null=True, blank=True, related_name="prompts", help_text="None: imported."
    )

    objects: ClassVar[models.Manager[Prompt]] = ScopedManager(study="study")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "rule", "day", "slot"], name="one_prompt_per_slot")
        ]
        indexes = [
            models.Index(fields=["study", "scheduled_at"]),
            models.Index(fields=["scheduled_at", "expires_at"], name="prompts_by_time"),  # what is due: sampling/due.py
        ]

    def __str__(self) -> str:
        return f"{self.questionnaire} day {self.day} slot {self.slot}"


class PromptEvent(models.Model):
    """Something that happened to a prompt, with a reason and two clocks. Written once, never changed."""

    class Kind(models.TextChoices):
        QUEUED = "queued"
        SENT = "sent"  # the push service accepted it
        UNDELIVERED = "undelivered"  # the push service, or the phone, says that it did not arrive
        DELIVERED = "delivered"
        SHOWN = "shown"
        REMINDED = "reminded"
        OPENED = "opened"
        DISMISSED = "dismissed"
        STARTED = "started"
        COMPLETED = "completed"
        UPLOADED = "uploaded"
        EXPIRED = "expired"
        CANCELLED = "cancelled"
        RESTORED = "restored"  # a later change of the schedule asks for it again
        REISSUED = "reissued"  # the phone asked again for the same moment
        RESCHEDULED = "rescheduled"  # from `was_at` to `now_at`
        AVAILABLE = "available"  # for the decision that its prompt is
        UNAVAILABLE = "unavailable"

    class Code(models.TextChoices):
        """Why, for machines; `reason` is the same for people."""

        WITHDREW = "withdrew"
        PAUSED = "paused"  # by the person
        STUDY_SILENT = "study_silent"
        PLAN_CHANGED = "plan_changed"
        SCHEDULE_CHANGED = "schedule_changed"
        ZONE_CHANGED = "zone_changed"
        TOO_CLOSE = "too_close"  # the gap to a prompt that was asked already
        TOO_LATE = "too_late"  # the answer that it follows arrived after its time
        NO_DEVICE = "no_device"
        TOKEN_DEAD = "token_dead"
        REFUSED = "refused"  # by the push service
        RECENT_ANSWER = "recent_answer"
        NO_PERMISSION = "no_permission"
        DO_NOT_DISTURB = "do_not_disturb"
        DRIVING = "driving"
        BATTERY = "battery"
        OTHER = "other"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="prompt_events", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="events", db_index=False)
    device = models.ForeignKey(Device, on_delete=models.SET_NULL, null=True, blank=True)
    client_id = models.UUIDField(default=uuid.uuid4)
    kind = models.CharField(max_length=12, choices=Kind)
    code = models.CharField(max_length=20, choices=Code, blank=True, default="", db_default="")
    reason = models.CharField(max_length=200, blank=True, default="", help_text="The server's own words.")
    note = SealedField(null=True, help_text="The phone's reason.")
    phone_at = models.DateTimeField(
        null=True, blank=True, help_text="Empty where the phone's clock cannot be believed."
    )
    phone_text = models.CharField(max_length=40, blank=True, default="", help_text="The phone's time as it was sent.")
    was_at = models.DateTimeField(null=True, blank=True, help_text="Of a prompt that moved.")
    now_at = models.DateTimeField(null=True, blank=True)
    received_at = models.DateTimeField()

    objects: ClassVar[models.Manager[PromptEvent]] = ScopedManager(study="study")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "client_id"], name="one_prompt_event_per_client_id"),
            bounded("phone_at", name="phone_at_can_be_read_back"),
        ]
        indexes = [
            models.Index(fields=["prompt", "kind"], include=["received_at", "device"], name="events_of_prompts"),
            models.Index(
                fields=["received_at"],
                include=["prompt"],
                condition=models.Q(kind="queued"),
                name="prompts_queued_lately",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.prompt_id}"

    @property
    def seal(self) -> Seal:
        return Seal(self.prompt.participant.key_id, self.study_id, str(self.client_id))


class Decision(models.Model):
    """What chance chose at a decision point of a micro-randomised trial: written before anything was done, and the database
    refuses to change it. Whether the person was available is in the prompt's events."""

    prompt = models.OneToOneField(Prompt, on_delete=models.CASCADE, primary_key=True, related_name="decision")
    options = models.JSONField(help_text='The probabilities: {"message": 0.6, "none": 0.4}')
    draw = models.FloatField(
        help_text="Uniform from 0 to 1: it falls on the option within whose share it lies, in alphabetical order."
    )
    option = models.CharField(max_length=40)
    made_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Decision]] = ScopedManager(study="prompt__study")

    def __str__(self) -> str:
        return f"{self.option} at {self.prompt_id}"

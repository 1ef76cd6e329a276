"""Who takes part. Identity, consent and secrets live here; every other table knows a pseudonym."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import Value
from django_scopes import ScopedManager

from ema_server.common.phone_time import bounded
from ema_server.studies.models import Study, known_zone
from ema_server.vault.fields import Seal, SealedField

PLACE = {"arm": "arm", "site": "site", "dyad": "dyad", "role": "dyad_role"}  # where somebody is: its word, its field


class Participant(models.Model):
    class State(models.TextChoices):
        INVITED = "invited"
        ACTIVE = "active"
        PAUSED = "paused"
        WITHDRAWN = "withdrawn"
        ERASED = "erased"

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="participants")
    pseudonym = models.CharField(max_length=40)
    key_id = models.UUIDField(
        default=uuid.uuid4, db_default=RandomUUID(), unique=True, editable=False, help_text="Names this person's key."
    )
    site = models.CharField(max_length=40, blank=True, default="", db_default="")
    arm = models.CharField(max_length=40, blank=True, default="", db_default="")
    dyad = models.CharField(max_length=40, blank=True, default="", db_default="", help_text="Who belong together.")
    dyad_role = models.CharField(max_length=40, blank=True, default="", db_default="")
    state = models.CharField(max_length=10, choices=State, default=State.INVITED)
    zone = models.CharField(max_length=64, validators=[known_zone], blank=True, default="")
    first_day = models.DateField(null=True, blank=True, help_text="Planned by the researcher, or the day of enrolment.")
    last_day = models.DateField(null=True, blank=True)
    schedule = models.JSONField(
        default=dict,
        db_default=Value({}, models.JSONField()),
        help_text='Their own hours, events and bursts: {"waking": {"every": ["07:00", "23:00"]}, "events": {…}, "waves": {…}}',
    )
    test_person = models.BooleanField(default=False, help_text="Tries the app out; never counted.")
    enrolled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[Participant]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "pseudonym"], name="one_person_per_pseudonym")]

    def __str__(self) -> str:
        return self.pseudonym

    @property
    def audit_name(self) -> str:
        return f"participant:{self.pk}"


class Identity(models.Model):
    """Who a participant is and how to reach them: ciphertext under their own key, bound to this row."""

    FIELDS = ("name", "email", "phone", "note")

    participant = models.OneToOneField(Participant, models.CASCADE, primary_key=True, related_name="identity")
    name = SealedField(null=True)
    email = SealedField(null=True)
    phone = SealedField(null=True)
    note = SealedField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager[Identity]] = ScopedManager(study="participant__study")

    class Meta:
        verbose_name_plural = "identities"

    def __str__(self) -> str:
        return f"identity of {self.participant}"

    @property
    def seal(self) -> Seal:
        return Seal(self.participant.key_id, self.participant.study_id, str(self.participant_id))


class EnrolmentCode(models.Model):
    """Lets a phone in: for one person, or for anybody up to a number of uses. Only its digest is kept."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="enrolment_codes")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, null=True, blank=True, related_name="codes")
    digest = models.CharField(max_length=64, unique=True)
    max_uses = models.PositiveIntegerField(default=1)
    uses = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()
    site = models.CharField(
        max_length=40, blank=True, default="", db_default="", help_text="Of whoever comes in by a code for anybody."
    )
    new_phone = models.BooleanField(
        default=False, db_default=False, help_text="Brings somebody who is in to another phone; invites nobody."
    )
    made_at = models.DateTimeField(null=True, blank=True)
    made_by = models.CharField(max_length=60, blank=True, default="", db_default="")
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Before it was used up or had expired.")

    objects: ClassVar[models.Manager[EnrolmentCode]] = ScopedManager(study="study")

    def __str__(self) -> str:
        return f"code for {self.participant or self.study}"

    def open_at(self, now: datetime) -> bool:
        return self.closed_at is None and self.uses < self.max_uses and self.expires_at > now

    @property
    def audit_name(self) -> str:
        return f"code:{self.pk}"


class Consent(models.Model):
    """What a person agreed to, and when: the phone's time beside ours."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="consents")
    version = models.CharField(max_length=40)
    digest = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="Of the text; empty where the study has none."
    )
    given_at = models.DateTimeField(help_text="By the phone's clock.")
    received_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Consent]] = ScopedManager(study="participant__study")

    class Meta:
        constraints = [bounded("given_at", name="given_at_can_be_read_back")]

    def __str__(self) -> str:
        return f"{self.participant} agreed to {self.version}"


class Pause(models.Model):
    """A stretch of time in which nobody asks a person anything, because they wished so. Open until they go on."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="pauses")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[Pause]] = ScopedManager(study="participant__study")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant"], condition=models.Q(until__isnull=True), name="one_open_pause_per_person"
            ),
            models.CheckConstraint(
                condition=models.Q(until__isnull=True) | models.Q(until__gte=models.F("since")),
                name="a_pause_ends_later",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.participant} paused"


class Device(models.Model):
    """A phone and the credential that it was given: 256 bits, of which only the SHA-256 is kept."""

    class Closed(models.TextChoices):
        REVOKED = "revoked"  # by the study team
        REPLACED = "replaced"  # by a newer phone of the same person

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="devices")
    token_digest = models.CharField(max_length=64, unique=True)
    platform = models.CharField(max_length=40, blank=True, default="")
    os_version = models.CharField(max_length=40, blank=True, default="")
    app_version = models.CharField(max_length=40, blank=True, default="")
    zone = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField()
    old_token_digest = models.CharField(
        max_length=64, unique=True, null=True, blank=True, help_text="Of the credential before the last rotation."
    )
    old_token_until = models.DateTimeField(null=True, blank=True, help_text="Until then the old one is good as well.")
    revoked_at = models.DateTimeField(null=True, blank=True)  # since when its credential is closed
    closed_because = models.CharField(max_length=10, choices=Closed, blank=True, default="", db_default="")
    enrolment_digest = models.CharField(
        max_length=64,
        unique=True,
        null=True,
        blank=True,
        help_text="Of its code and the phone's own UUID: the same enrolment sent again is known by it.",
    )

    objects: ClassVar[models.Manager[Device]] = ScopedManager(study="participant__study")

    is_authenticated = True  # what DRF's permissions ask of whoever calls

    def __str__(self) -> str:
        return f"{self.platform or 'phone'} of {self.participant}"

    @property
    def study(self) -> Study:
        return self.participant.study

    @property
    def audit_name(self) -> str:
        return f"device:{self.pk}"


class DeviceReport(models.Model):
    """What a phone said of itself at one moment: battery, versions, permissions, what waits in it. Written once, never
    changed; it goes with its person."""

    LARGEST_QUEUE = 1_000_000
    FARTHEST_CLOCK_MS = 10 * 366 * 24 * 3600 * 1000

    participant = models.ForeignKey(
        Participant, on_delete=models.CASCADE, related_name="device_reports", db_index=False
    )
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="reports", db_index=False)
    client_id = models.UUIDField()
    digest = models.CharField(max_length=64, help_text="Of the whole report: tells a repeat from another one.")
    phone_at = models.DateTimeField(
        null=True, blank=True, help_text="Empty where the phone's clock cannot be believed."
    )
    phone_text = models.CharField(max_length=40, help_text="The phone's time as it was sent.")
    received_at = models.DateTimeField()
    battery = models.FloatField(null=True, blank=True, help_text="0 to 1")
    charging = models.BooleanField(null=True, blank=True)
    platform = models.CharField(max_length=40, blank=True, default="")
    os_version = models.CharField(max_length=40, blank=True, default="")
    app_version = models.CharField(max_length=40, blank=True, default="")
    zone = models.CharField(max_length=64, blank=True, default="")
    permissions = models.JSONField(default=dict, help_text='{"notifications": true}')
    queue = models.PositiveIntegerField(null=True, blank=True, help_text="Answers that it has not uploaded.")
    clock_ahead_ms = models.BigIntegerField(
        null=True, blank=True, help_text="Of the server's, as the phone worked it out; negative where it is behind."
    )

    objects: ClassVar[models.Manager[DeviceReport]] = ScopedManager(study="participant__study")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["participant", "client_id"], name="one_report_per_person_and_client_id"),
            models.CheckConstraint(
                condition=models.Q(battery__isnull=True) | models.Q(battery__gte=0, battery__lte=1),
                name="a_battery_is_a_share",
            ),
            models.CheckConstraint(
                condition=models.Q(queue__isnull=True) | models.Q(queue__lte=1_000_000), name="a_queue_has_an_end"
            ),
            models.CheckConstraint(
                condition=models.Q(clock_ahead_ms__isnull=True)
                | models.Q(clock_ahead_ms__gte=-316_224_000_000, clock_ahead_ms__lte=316_224_000_000),
                name="a_clock_is_years_off_at_most",
            ),
            models.CheckConstraint(
                condition=models.Q(phone_at__isnull=True)
                | models.Q(
                    phone_at__gte=datetime(1900, 1, 1, tzinfo=UTC), phone_at__lt=datetime(2200, 1, 1, tzinfo=UTC)
                ),
                name="a_report_is_of_our_time",
            ),
        ]
        indexes = [models.Index(fields=["device", "received_at"], name="newest_report_of_a_phone")]

    def __str__(self) -> str:
        return f"report of {self.device}"

    @property
    def clock_words(self) -> str:
        seconds = round((self.clock_ahead_ms or 0) / 1000)
        return "right to the second" if seconds == 0 else f"{abs(seconds):,} s {'ahead' if seconds > 0 else 'behind'}"


class PersonTable(models.Model):
    """Baseline covariates by pseudonym: imported, versioned, hashed; the newest version joins the frame."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="person_tables")
    number = models.PositiveIntegerField()
    columns = models.JSONField(
        default=list,
        db_default=Value([], models.JSONField()),
        help_text='[{"name": "sex", "type": "category", "label": "", "levels": [{"value": "f", "label": "female"}]}]',
    )
    rows = models.JSONField(help_text='{"P01": {"sex": "female", "age": 42}}')
    digest = models.CharField(max_length=64)
    source_digest = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="Keyed, of the file."
    )
    report = models.JSONField(
        default=dict, db_default=Value({}, models.JSONField()), help_text="Counts and row numbers, no pseudonyms."
    )
    imported_by = models.CharField(max_length=60, blank=True, default="", db_default="")
    imported_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[PersonTable]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="one_person_table_version")]

    def __str__(self) -> str:
        return f"person table v{self.number}"


class Series(models.Model):
    """Measurements from a sensor or of the surroundings: imported, versioned; the newest version of a name is read."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="series")
    name = models.CharField(max_length=40)
    number = models.PositiveIntegerField()
    columns = models.JSONField(help_text='[{"name": "count", "unit": "steps"}]')
    source_digest = models.CharField(max_length=64, help_text="Keyed, of the file.")
    report = models.JSONField(default=dict, help_text="Counts and row numbers, no pseudonyms.")
    imported_by = models.CharField(max_length=60, blank=True, default="")
    imported_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[Series]] = ScopedManager(study="study")

    class Meta:
        verbose_name_plural = "series"
        constraints = [models.UniqueConstraint(fields=["study", "name", "number"], name="one_series_version")]

    def __str__(self) -> str:
        return f"{self.name} v{self.number}"


class SeriesValues(models.Model):
    """What one column of a series holds of one person: moments in order, and the value at each. One row, not a row for
    each value: a million values of a thousand people are read and written as a thousand."""

    series = models.ForeignKey(Series, on_delete=models.CASCADE, related_name="of_people")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="series_values")
    column = models.CharField(max_length=63)
    at = ArrayField(models.DateTimeField())
    value = ArrayField(models.FloatField())

    objects: ClassVar[models.Manager[SeriesValues]] = ScopedManager(study="series__study")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["series", "participant", "column"], name="one_row_per_person_and_column")
        ]

    def __str__(self) -> str:
        return f"{self.column} of {self.participant}"

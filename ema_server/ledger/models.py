"""What must happen, and what people changed. Both are written in the transaction of the fact itself."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django_scopes import ScopedManager

from ema_server.vault.fields import Seal, SealedField
from ema_server.vault.services import SERVER


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


class AuditEvent(models.Model):
    """What somebody changed, when and why. The database refuses to update or delete it; `ledger.audit` writes it.

    `study` has no constraint in the database: the trail of a study outlives it.
    """

    study = models.ForeignKey("studies.Study", models.DO_NOTHING, null=True, db_constraint=False, related_name="+")
    chain = models.CharField(max_length=40)
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    actor = models.CharField(max_length=60, help_text="user:5, device:9 or server")
    action = models.CharField(max_length=60, help_text="For instance member.invited")
    about = models.CharField(max_length=120, help_text="For instance participant:17")
    changes = models.JSONField(default=dict)
    reason = SealedField(null=True)
    person = models.UUIDField(null=True, help_text="Whose key seals the reason; the server's, if empty.")
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects: ClassVar[models.Manager[AuditEvent]] = ScopedManager(study="study")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "number"], name="one_event_per_number")]
        indexes = [models.Index(fields=["study", "-number"], name="audit_newest_first")]

    def __str__(self) -> str:
        return f"{self.chain} #{self.number}: {self.action}"

    @property
    def seal(self) -> Seal:
        return Seal(owner=self.person or SERVER, study_id=self.study_id or 0, row=f"{self.chain} #{self.number}")


class AuditChain(models.Model):
    """The end of one chain: locked while an event is added, and proven by a key that is not in this database."""

    name = models.CharField(max_length=40, primary_key=True)
    length = models.PositiveBigIntegerField(default=0)
    head = models.CharField(max_length=64)
    last_at = models.DateTimeField(null=True)
    proof = models.CharField(max_length=64, default="")

    def __str__(self) -> str:
        return f"{self.name}: {self.length} events"


class KeyStoreBond(models.Model):
    """The one row that says which key store opens what is sealed here."""

    only = models.BooleanField(primary_key=True, default=True, editable=False)
    store = models.UUIDField()

    def __str__(self) -> str:
        return f"bound to key store {self.store}"

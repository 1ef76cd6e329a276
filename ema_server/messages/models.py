"""What a study team writes to its participants: ciphertext under each person's own key."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.participants.models import Participant
from ema_server.studies.models import Study
from ema_server.vault.fields import Seal, SealedField


class Message(models.Model):
    """A note to one person, which their phone shows. Taken back it is told no more; it is never edited."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="messages", db_index=False)
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="messages")
    text = SealedField()
    written_by = models.CharField(max_length=60)
    written_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="From then on phones do not show it any more.")
    taken_back_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[Message]] = ScopedManager(study="study")

    def __str__(self) -> str:
        return f"message to {self.participant}"

    @property
    def seal(self) -> Seal:
        return Seal(self.participant.key_id, self.study_id, str(self.pk))

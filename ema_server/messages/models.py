"""What was written to whom. A message is never edited: it can be taken back, and another one written."""

from __future__ import annotations

import json
import uuid
from typing import ClassVar

from django.db import models
from django_scopes import ScopedManager

from ema_server.participants.models import Participant
from ema_server.studies.models import Study
from ema_server.vault.fields import Seal, SealedField

Words = str | dict[str, str]  # one text, or one for each language


class Message(models.Model):
    """A text for one person. Its words are sealed under their key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="messages")
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="messages")
    body = SealedField(help_text='JSON: a text, or {"en": "…", "nl": "…"}')
    author = models.CharField(max_length=60, help_text="As the audit trail names them: user:12, or server.")
    written_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True, help_text="From then on phones are not told of it.")
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[Message]] = ScopedManager(study="study")

    def __str__(self) -> str:
        return str(self.pk)

    @property
    def seal(self) -> Seal:
        return Seal(self.participant.key_id, self.study_id, str(self.pk))

    @property
    def words(self) -> Words:
        opened: Words = json.loads(self.body)
        return opened

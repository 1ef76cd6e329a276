"""Reads of messages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Q

from ema_server.messages.models import Message
from ema_server.participants.models import Participant

SHOWN = 50  # a phone is told the newest of them


def messages_for(participant: Participant, *, now: datetime) -> list[Message]:
    """What this person's phone shows now, the newest first."""
    current = Message.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now), participant=participant)
    return list(
        current.filter(taken_back_at__isnull=True).select_related("participant").order_by("-written_at", "id")[:SHOWN]
    )


def messages_of(participant: Participant) -> Iterator[dict[str, Any]]:
    """Every message that was ever written to this person, in order."""
    for message in Message.objects.filter(participant=participant).select_related("participant").order_by("written_at"):
        yield {
            "id": message.pk,
            "text": message.text,
            "written_at": message.written_at,
            "expires_at": message.expires_at,
            "taken_back_at": message.taken_back_at,
        }

"""Writing to people, and taking it back. The audit trail says who wrote to whom and how much, never what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.messages.models import Message, Words
from ema_server.participants.models import Participant
from ema_server.studies.models import Study
from ema_server.studies.services import LANGUAGE, MAX_LANGUAGES
from ema_server.vault.services import holding_keys

MAX_CHARACTERS = 2_000


class InvalidMessage(DomainError):
    code = "invalid_message"
    status = 400


class NobodyToWriteTo(DomainError):
    code = "nobody_to_write_to"


class NoSuchMessage(DomainError):
    code = "no_such_message"
    status = 404


@transaction.atomic
def send_message(
    *,
    study: Study,
    to: Iterable[Participant],
    text: str | Mapping[str, str],
    author: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> list[Message]:
    """Write the same words to one or several people. Their phones have them at the next sync."""
    words = _words(text)
    if expires_at is not None and expires_at <= now:
        raise InvalidMessage(f"expires_at: {expires_at.isoformat()} is not ahead; name a later moment, or none.")
    people = _people(study, to)
    body = json.dumps(words, ensure_ascii=False)
    messages = [
        Message(
            study=study, participant=person, body=body, author=author[:60], written_at=now, expires_at=expires_at
        )
        for person in people
    ]  # fmt: skip
    with holding_keys():
        Message.objects.bulk_create(messages, batch_size=500)
    for message in messages:
        audit.record(
            action="message.sent",
            actor=author,
            study_id=study.pk,
            about=message.participant.audit_name,
            changes={
                "message": str(message.pk),
                "characters": len(words) if isinstance(words, str) else sum(map(len, words.values())),
                "expires_at": expires_at.isoformat() if expires_at else "",
            },
        )
    return messages


@transaction.atomic
def withdraw_message(*, study: Study, message: UUID, actor: str, now: datetime) -> Message:
    """Take a message back: phones drop it at their next sync. Done twice it is done once."""
    found = Message.objects.select_for_update(of=("self",)).select_related("participant")
    held = found.filter(study=study, pk=message).first()
    if held is None:
        raise NoSuchMessage(f"message: the study has none with the id {message}.")
    if held.withdrawn_at is None:
        held.withdrawn_at = now
        held.save(update_fields=["withdrawn_at"])
        audit.record(
            action="message.withdrawn",
            actor=actor,
            study_id=study.pk,
            about=held.participant.audit_name,
            changes={"message": str(held.pk)},
        )
    return held


def _words(text: str | Mapping[str, str]) -> Words:
    """The text, trimmed, or each language's; a language without words is a fault, not an empty message."""
    if isinstance(text, str):
        return _text("text", text)
    if not text or len(text) > MAX_LANGUAGES:
        raise InvalidMessage(f"text: write it in 1 to {MAX_LANGUAGES} languages; here are {len(text)}.")
    for language in text:
        if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
            raise InvalidMessage(f"text: {str(language)[:20]!r} is no language; write a code like en, pt-BR or ar.")
    return {language: _text(f"text.{language}", each) for language, each in text.items()}


def _text(place: str, text: object) -> str:
    trimmed = text.strip() if isinstance(text, str) else ""
    if not trimmed or len(trimmed) > MAX_CHARACTERS:
        raise InvalidMessage(f"{place}: {len(trimmed):,} characters; a message has 1 to {MAX_CHARACTERS:,}.")
    if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in trimmed):
        raise InvalidMessage(f"{place}: holds a character (NUL or half a surrogate pair) that no text has.")
    return trimmed


def _people(study: Study, to: Iterable[Participant]) -> list[Participant]:
    """Whom to write to, each once and held, so that nobody is erased meanwhile."""
    numbers = {person.pk for person in to}
    if not numbers:
        raise NobodyToWriteTo("to: name at least one person.")
    found = Participant.objects.select_for_update(no_key=True).filter(study=study, pk__in=numbers).order_by("pk")
    people = list(found)
    gone = [person.pseudonym for person in people if person.state == Participant.State.ERASED]
    if gone:
        raise NobodyToWriteTo(f"to: {', '.join(gone[:20])}: erased; nothing more can be stored about them.")
    if len(people) < len(numbers):
        raise NobodyToWriteTo(f"to: {len(numbers) - len(people)} of these people are not in this study.")
    return people

"""`manage.py send_message STUDY --to P017 --text "…"`: write to people; their phones have it at the next sync."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.messages.services import send_message, withdraw_message
from ema_server.participants.models import Participant
from ema_server.studies.commands import StudyCommand, read_json
from ema_server.studies.models import Study

State = Participant.State


class Command(StudyCommand):
    help = "Writes a message to one person, several, or everybody who takes part; or takes one back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--to", action="append", metavar="PSEUDONYM", help="may be given several times")
        whom.add_argument("--everybody", action="store_true", help="all who are in: neither withdrawn nor erased")
        whom.add_argument("--withdraw", metavar="ID", help="take this message back instead")
        parser.add_argument("--text", help="the words, in one language")
        parser.add_argument("--file", type=Path, help='JSON instead: {"en": "…", "nl": "…"}')
        parser.add_argument("--expires", metavar="MOMENT", help="with its offset, like 2026-03-15T18:00+01:00")

    def about(self, study: Study, **options: Any) -> None:
        now = clock.now()
        try:
            if options["withdraw"]:
                taken = withdraw_message(study=study, message=_id(options["withdraw"]), actor="server", now=now)
                self.stdout.write(f"The message to {taken.participant} is taken back.")
                return
            sent = send_message(
                study=study, to=_people(study, options["to"]), text=_words(options), author="server", now=now,
                expires_at=_moment(options["expires"]),
            )  # fmt: skip
        except DomainError as error:
            raise CommandError(error.detail) from error
        for message in sent:
            self.stdout.write(f"{message.participant}: {message.pk}")
        self.stdout.write(f"Written to {len(sent)} {'person' if len(sent) == 1 else 'people'}.")


def _people(study: Study, names: list[str] | None) -> list[Participant]:
    there = Participant.objects.filter(study=study)
    if names is None:
        return list(there.filter(state__in=(State.ACTIVE, State.PAUSED)))
    found = {person.pseudonym: person for person in there.filter(pseudonym__in=names)}
    missing = [name for name in names if name not in found]
    if missing:
        raise CommandError(f"--to: {study.slug} has no participant {', '.join(map(repr, missing[:20]))}.")
    return list(found.values())


def _words(options: dict[str, Any]) -> Any:
    if (options["text"] is None) == (options["file"] is None):
        raise CommandError("Give the words once: --text or --file.")
    words = options["text"] if options["file"] is None else read_json(options["file"])
    if not isinstance(words, str | dict):
        raise CommandError(f'{options["file"]}: a text is meant, or {{"en": "…", "nl": "…"}}.')
    return words


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise CommandError(f"--expires {text[:40]!r} is no moment with an offset; write one like 2026-03-15T18:00+01:00.")
    return moment


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise CommandError(f"--withdraw {text[:40]!r} is no message's id.") from None

"""`manage.py send_message STUDY PERSON … --text …`: a note to participants, which their phones show."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.messages.services import send_message
from ema_server.participants.models import Participant
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study

IN = (Participant.State.ACTIVE, Participant.State.PAUSED)


class Command(StudyCommand):
    help = "Writes to participants of a study; their phones show it with their next sync."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("person", nargs="*", help="pseudonyms")
        parser.add_argument("--everybody", action="store_true", help="whoever is in, instead of naming people")
        parser.add_argument("--text", required=True)
        parser.add_argument("--days", type=int, help="how long phones show it; for ever, if absent")

    def about(self, study: Study, **options: Any) -> None:
        if bool(options["person"]) == options["everybody"]:
            raise CommandError("Name people, or say --everybody.")
        if options["days"] is not None and not 1 <= options["days"] <= 3660:
            raise CommandError(f"--days {options['days']}: 1 to 3660 are accepted.")
        everybody = study.participants.filter(state__in=IN).values_list("pseudonym", flat=True)
        now = clock.now()
        try:
            sent = send_message(
                study=study,
                to=list(everybody) if options["everybody"] else options["person"],
                text=options["text"],
                now=now,
                actor="server",
                expires_at=now + timedelta(days=options["days"]) if options["days"] else None,
            )
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"Written to {len(sent)} {'person' if len(sent) == 1 else 'people'}.")

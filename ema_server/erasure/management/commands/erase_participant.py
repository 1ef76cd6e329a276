"""`manage.py erase_participant STUDY PSEUDONYM`: erase one person now, and print the certificate."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from ema_server.common import clock
from ema_server.erasure import services
from ema_server.participants.models import Participant
from ema_server.studies.commands import StudyCommand
from ema_server.studies.models import Study


class Command(StudyCommand):
    help = "Destroys a participant's key, removes all that they left, and prints the certificate. It cannot be undone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument("pseudonym", help="the participant's pseudonym, for instance P017")
        parser.add_argument("--yes", action="store_true", help="do not ask whether this is meant")

    def about(self, study: Study, **options: Any) -> None:
        participant = Participant.objects.filter(study=study, pseudonym=options["pseudonym"]).first()
        if participant is None:
            raise CommandError(f"{study.slug} has no participant {options['pseudonym']!r}.")
        if not options["yes"]:
            self.stdout.write(f"This erases {participant} of {study.title} for ever. Type the pseudonym to go on: ")
            if input().strip() != participant.pseudonym:
                raise CommandError("Nothing was erased.")
        now = clock.now()
        with transaction.atomic():
            services.ask_for_erasure(participant=participant, actor="server", now=now)
        self.stdout.write(services.text_of(services.erase(participant=participant, now=now)))

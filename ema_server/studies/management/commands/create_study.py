"""`manage.py create_study SLUG --title … --owner EMAIL --zone … --starts … --ends …`: a new study, as a draft."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from ema_server.common.errors import DomainError
from ema_server.studies.commands import find_owner, read_day
from ema_server.studies.services import create_study

NEXT = """Its owner logs in and opens {setup}
1. Questionnaires: write or upload them on the page Questionnaires, then publish them.
2. When they are asked: manage.py publish_sampling_plan {slug} plan.json (examples are in docs/sampling.md).
3. Try it with a test participant (page Participants), then start the study (page Study).
4. manage.py invite_participants {slug} people.csv gives each person a code for the app."""


class Command(BaseCommand):
    help = "Makes a study in the state draft: nobody is asked anything before its owner starts it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="the study's short name, for addresses and commands: letters, digits, - and _")
        parser.add_argument("--title", required=True, help="the study's name, as researchers read it")
        parser.add_argument("--owner", help="the owner's address, with which they log in (default: the only account)")
        parser.add_argument("--zone", required=True, help="its time zone, like Europe/Amsterdam")
        parser.add_argument("--starts", required=True, help="first day, like 2026-03-02")
        parser.add_argument("--ends", required=True, help="last day, like 2026-03-15")
        parser.add_argument("--description", default="", help="a sentence or two about it")

    def handle(self, *args: Any, **options: Any) -> None:
        owner = find_owner(options["owner"])
        starts, ends = read_day("--starts", options["starts"]), read_day("--ends", options["ends"])
        try:
            study = create_study(
                owner=owner,
                actor="server",
                slug=options["slug"],
                title=options["title"].strip(),
                description=options["description"],
                zone=options["zone"],
                starts_on=starts,
                ends_on=ends,
            )
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{study.slug} is a draft now: {study.days} days, {starts} to {ends}, {study.zone}.")
        self.stdout.write(NEXT.format(setup=reverse("setup", args=[study.slug]), slug=study.slug))

"""`manage.py publish_sampling_plan STUDY FILE [--yes]`: who is asked what and when, from a JSON file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ema_server.common.errors import DomainError
from ema_server.studies import states
from ema_server.studies.commands import StudyCommand, read_json
from ema_server.studies.models import Study
from ema_server.studies.services import faults_of_plan, publish_sampling_plan


class Command(StudyCommand):
    help = "Publishes a sampling plan (docs/studies.md); without --yes it only says what is wrong with it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name")
        parser.add_argument("file", type=Path, help="the plan, as JSON")
        parser.add_argument("--yes", action="store_true", help="publish it")

    def about(self, study: Study, **options: Any) -> None:
        document = read_json(options["file"])
        faults = faults_of_plan(study, document)
        if faults:
            raise CommandError("\n".join(["It cannot be published:", *faults]))
        for rule in document["rules"]:
            self.stdout.write(f"{rule['key']}: {rule['questionnaire']}, {_when(rule)}")
        if not options["yes"]:
            self.stdout.write("Nothing is wrong with it, and nothing was published; say --yes to do it.")
            return
        try:
            plan = publish_sampling_plan(study=study, document=document)
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"Version {plan.number} of the sampling plan of {study.slug} is published.")
        if study.state != states.DRAFT:
            self.stdout.write("Who is in already keeps the prompts that they were given.")


def _when(rule: dict[str, Any]) -> str:
    if rule.get("event"):
        return "a button in the app."
    if "times" in rule:
        when = f"at {', '.join(rule['times'])}"
    elif "windows" in rule:
        when = "at a random moment in each of " + ", ".join("–".join(window) for window in rule["windows"])
    else:
        once = rule["once"]
        when = f"once, on day {once['day']}" if isinstance(once, dict) else f"once, at {once}"
    return f"{when}; open for {rule['open_minutes']} minutes{', practice' if rule.get('practice') else ''}."

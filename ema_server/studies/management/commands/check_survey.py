"""`manage.py check_survey FILE [--language ar] [--preview]`: what is wrong with a questionnaire, without a database."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ema_server.studies.management.commands._questionnaire import documents_in
from ema_server.surveys import preview
from ema_server.surveys.document import Survey, read
from ema_server.surveys.typed import read_typed


class Command(BaseCommand):
    help = "Prints every fault of a questionnaire with its place and line; exit status 1 if there is any."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="JSON, an XLSForm or a REDCap data dictionary")
        parser.add_argument("--preview", action="store_true", help="the screens, one after the other, unanswered")
        parser.add_argument("--language", default="", help="of the preview; the questionnaire's first one if not given")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        wrong = 0
        for name, text in documents_in(path, tell=self.stdout.write).items():
            typed = read_typed(text)
            for fault in typed.faults:
                self.stdout.write(f"{name}: {fault}")
            wrong += len(typed.faults)
            if typed.sound and typed.document is not None:
                survey = read(typed.document)
                language = options["language"]
                if language and language not in survey.languages:
                    offered = ", ".join(survey.languages) or "none: every text is a plain string"
                    raise CommandError(f"--language {language}: the questionnaire's languages are {offered}.")
                self.stdout.write(f"{name}: no faults, {len(survey.items)} items, {len(survey.scales)} scales.")
                if options["preview"]:
                    for line in screens(survey, language):
                        self.stdout.write(line)
        if wrong:
            sys.exit(1)


def screens(survey: Survey, language: str) -> Iterator[str]:
    """Each screen in words, those behind conditions among them."""
    for screen in preview.every_screen(survey, language=language):
        yield f"\n{screen.number} / {screen.of}{f' · {screen.title}' if screen.title else ''}"
        for question in screen.questions:
            yield f"  {question.text}  ({question.name}, {question.type})"
            if question.hint:
                yield f"    {question.hint}"
            for choice in question.choices:
                yield f"    ○ {choice.label}"
            if question.low and not question.choices:
                yield f"    {question.low_label or question.low} … {question.high_label or question.high}"

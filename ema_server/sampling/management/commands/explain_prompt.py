"""`manage.py explain_prompt PROMPT_ID [--json]`: how a prompt came to be, derived again, and what became of it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django_scopes import scope, scopes_disabled

from ema_server.common import clock
from ema_server.sampling.explaining import as_data, explain, in_words
from ema_server.sampling.models import Prompt
from ema_server.studies.commands import in_lines


class Command(BaseCommand):
    help = "Tells how a prompt came to be, draws it again, compares, and tells all that happened to it since."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("prompt", help="the prompt's id, as a phone is told it by sync")
        parser.add_argument("--json", action="store_true", help="as JSON, for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        prompt = _find(options["prompt"])
        with scope(study=prompt.study):
            found = explain(prompt, now=clock.now())
            text = (
                json.dumps(as_data(found), indent=2, ensure_ascii=False)
                if options["json"]
                else "\n".join(map(_in_lines, in_words(found)))
            )
        self.stdout.write(text)


def _in_lines(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return in_lines(line.lstrip(), indent=indent, then=f"{indent}  ") if line else line


def _find(text: str) -> Prompt:
    try:
        named = UUID(text)
    except ValueError:
        example = "3f2c8a52-0d5e-4c7e-9a3b-6f1f0f7f2b11"
        raise CommandError(f"prompt: {text[:60]!r} is no prompt's id; one is like {example}.") from None
    with scopes_disabled():
        prompt = (
            Prompt.objects.select_related("study", "participant__study", "plan", "planning__plan")
            .filter(pk=named)
            .first()
        )
    if prompt is None:
        raise CommandError(f"prompt: there is no {named}; an erased person's prompts are gone.")
    return prompt

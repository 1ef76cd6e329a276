"""What the commands about one study share."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.studies.models import Study

NO_TABLES = "The database has no tables yet: run manage.py upgrade, or make demo."


class StudyCommand(BaseCommand):
    """A command about the study that its argument `study` names; its queries see that study alone."""

    def handle(self, *args: Any, **options: Any) -> None:
        study = find_study(options.pop("study"))
        with scope(study=study):
            self.about(study, **options)

    def about(self, study: Study, **options: Any) -> None:
        raise NotImplementedError


def find_study(slug: str) -> Study:
    try:
        study = Study.objects.filter(slug=slug).first()
    except ProgrammingError as error:
        raise CommandError(NO_TABLES) from error
    if study is None:
        known = ", ".join(Study.objects.order_by("slug").values_list("slug", flat=True))
        raise CommandError(
            f"There is no study {slug!r}; " + (f"there are: {known}." if known else "there is none yet: try make demo.")
        )
    return study


def find_owner(email: str | None) -> User:
    """To whom a new study belongs: whose address is given, or the only researcher there is."""
    active = User.objects.filter(is_active=True)
    try:
        found = active.filter(email__iexact=email).first() if email else None
        several = active.count() != 1
    except ProgrammingError as error:
        raise CommandError(NO_TABLES) from error
    if email and found is None:
        raise CommandError(
            f"--owner: nobody here has the address {email!r}. Take an account that is there and invite others on the "
            "study's page Team, or make one with manage.py createsuperuser."
        )
    if found is None and several:
        raise CommandError(
            "--owner: say to whom the study belongs, by the address with which they log in."
            if active.exists()
            else "There is no researcher yet to whom the study could belong; make one with manage.py createsuperuser."
        )
    return found or active.get()


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path}: is no JSON ({json_fault(error)}).") from error


def json_fault(error: Exception) -> str:
    """Where it ends to be JSON, and why."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
    return str(error)


def in_lines(text: str, *, indent: str = "", then: str | None = None) -> str:
    """A sentence as a terminal of 80 columns shows it; `then` is before its second and later lines."""
    return textwrap.fill(
        text, 80, initial_indent=indent, subsequent_indent=indent if then is None else then,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def as_list(first: str, sentences: Iterable[str]) -> str:
    """A sentence and, below it, several more."""
    return "\n".join([in_lines(first), *(in_lines(each, indent="  - ", then="    ") for each in sentences)])


def read_day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text!r} is no date; write one like 2026-03-15.") from None

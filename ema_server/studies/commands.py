"""What the commands about one study share."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.studies.models import Study


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
        raise CommandError("The database has no tables yet: run manage.py migrate, or make demo.") from error
    if study is None:
        known = ", ".join(Study.objects.order_by("slug").values_list("slug", flat=True))
        raise CommandError(
            f"There is no study {slug!r}; " + (f"there are: {known}." if known else "there is none yet: try make demo.")
        )
    return study


def find_owner(email: str | None) -> User:
    """To whom a new study belongs: whose address is given, or the only researcher there is."""
    active = User.objects.filter(is_active=True)
    found = active.filter(email__iexact=email).first() if email else None
    if email and found is None:
        raise CommandError(
            f"--owner: nobody here has the address {email!r}. Take an account that is there and invite others on the "
            "study's page Team, or make one with manage.py createsuperuser."
        )
    if found is None and active.count() != 1:
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
        raise CommandError(f"{path}: is no JSON ({error}).") from error


def read_day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option} {text!r} is no date; write one like 2026-03-15.") from None

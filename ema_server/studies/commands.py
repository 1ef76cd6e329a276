"""What the commands about one study share."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError
from django_scopes import scope

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

"""What the commands about one study share."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.db import ProgrammingError

from ema_server.studies.models import Study


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

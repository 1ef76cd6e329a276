"""What the commands about one study share."""

from __future__ import annotations

from django.core.management.base import CommandError

from ema_server.studies.models import Study


def find_study(slug: str) -> Study:
    study = Study.objects.filter(slug=slug).first()
    if study is None:
        known = ", ".join(Study.objects.order_by("slug").values_list("slug", flat=True))
        raise CommandError(
            f"There is no study {slug!r}; " + (f"there are: {known}." if known else "there is none yet: try make demo.")
        )
    return study

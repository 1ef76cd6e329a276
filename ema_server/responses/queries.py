"""Reads that span a study's answers."""

from __future__ import annotations

from django.db.models import Count, Sum

from ema_server.studies.models import Study


def upload_counts(study: Study) -> dict[str, int]:
    """How many batches came and what became of their items."""
    totals = study.uploads.aggregate(
        batches=Count("id"),
        stored=Sum("stored", default=0),
        duplicate=Sum("duplicate", default=0),
        conflict=Sum("conflict", default=0),
        rejected=Sum("rejected", default=0),
    )
    return {name: int(value) for name, value in totals.items()}

"""What the nights fit: publishing it, without the engine that will fit it."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from ema_server.common.canonical import digest
from ema_server.ledger import audit
from ema_server.reports import queries
from ema_server.reports.models import AnalysisPlan
from ema_server.studies.models import Study


@transaction.atomic
def publish_plan(*, study: Study, document: dict[str, Any], actor: str = "server") -> AnalysisPlan:
    """A new version of what the nights fit; the same document again is the version that is there."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    newest = queries.current_plan(study)
    if newest and newest.digest == digest(document):
        return newest
    plan = AnalysisPlan.objects.create(
        study=study, number=newest.number + 1 if newest else 1, document=document, digest=digest(document)
    )
    audit.record(
        action="analysis_plan.published",
        actor=actor,
        study_id=study.pk,
        about=f"analysis_plan:{plan.number}",
        changes={"digest": plan.digest},
    )
    return plan

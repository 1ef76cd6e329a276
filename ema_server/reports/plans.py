"""What the nights fit: publishing and locking it, without the engine that will fit it."""

from __future__ import annotations

from datetime import datetime
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


@transaction.atomic
def lock_plan(*, plan: AnalysisPlan, now: datetime, actor: str = "server", reason: str = "") -> AnalysisPlan:
    """Fix what will be fitted: no later version of a questionnaire may take away or redefine what this plan uses."""
    Study.objects.select_for_update(no_key=True).get(pk=plan.study_id)  # no questionnaire is published meanwhile
    held = AnalysisPlan.objects.select_for_update(no_key=True).get(pk=plan.pk)
    if held.locked_at is None:
        held.locked_at = now
        held.save(update_fields=["locked_at"])
        audit.record(
            action="analysis_plan.locked",
            actor=actor,
            study_id=held.study_id,
            about=f"analysis_plan:{held.number}",
            changes={"digest": held.digest},
            reason=reason,
        )
    return held

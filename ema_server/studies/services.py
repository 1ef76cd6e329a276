"""Setting up a study: each function makes one thing and refuses what could not work later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from ema_server.accounts.models import User
from ema_server.common.canonical import digest
from ema_server.common.errors import DomainError
from ema_server.studies import items
from ema_server.studies.models import Membership, SamplingPlan, Study, SurveyVersion


class InvalidSurvey(DomainError):
    code = "invalid_survey"


def add_member(*, study: Study, user: User, role: Membership.Role) -> Membership:
    member, _ = Membership.objects.update_or_create(study=study, user=user, defaults={"role": role})
    return member


@transaction.atomic
def publish_survey(*, study: Study, questionnaire: str, document: dict[str, Any]) -> SurveyVersion:
    """Make the next version of a questionnaire; the same document again is the version that is there."""
    faults = items.document_faults(document)
    if faults:
        raise InvalidSurvey(" ".join(faults))
    Study.objects.select_for_update().get(pk=study.pk)
    newest = study.survey_versions.filter(questionnaire=questionnaire).order_by("-number").first()
    if newest and newest.digest == digest(document):
        return newest
    return SurveyVersion.objects.create(
        study=study,
        questionnaire=questionnaire,
        number=newest.number + 1 if newest else 1,
        document=document,
        digest=digest(document),
    )


@transaction.atomic
def publish_sampling_plan(*, study: Study, document: dict[str, Any]) -> SamplingPlan:
    """Make the next version of the sampling plan."""
    Study.objects.select_for_update().get(pk=study.pk)
    newest = study.sampling_plans.order_by("-number").first()
    return SamplingPlan.objects.create(
        study=study, number=newest.number + 1 if newest else 1, document=document, digest=digest(document)
    )


def lock_data(*, study: Study, now: datetime) -> None:
    """End the study and close its data: what arrives later is quarantined, and its reports are final."""
    study.state = Study.State.LOCKED
    study.locked_at = now
    study.save(update_fields=["state", "locked_at"])

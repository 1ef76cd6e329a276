"""Setting up a study: each function makes one thing and refuses what could not work later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.common.canonical import digest
from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.studies.models import Membership, SamplingPlan, Study, SurveyVersion
from ema_server.surveys.faults import faults


class InvalidSurvey(DomainError):
    code = "invalid_survey"


class SiteNotForRole(DomainError):
    code = "site_not_for_role"
    status = 400


class SlugTaken(DomainError):
    code = "slug_taken"


@transaction.atomic
def create_study(*, owner: User, actor: str, **facts: Any) -> Study:
    """A new study with its first owner; `facts` are the study's own fields."""
    if Study.objects.filter(slug=facts["slug"]).exists():
        raise SlugTaken(f"slug: there is a study {facts['slug']!r} already; choose another short name.")
    study = Study.objects.create(**facts)
    about = f"study:{study.pk}"
    audit.record(
        action="study.created", actor=actor, study_id=study.pk, about=about, changes={"state": str(study.state)}
    )
    with scope(study=study):
        add_member(study=study, user=owner, role=Membership.Role.OWNER, actor=actor)
    return study


@transaction.atomic
def add_member(*, study: Study, user: User, role: Membership.Role, site: str = "", actor: str = "server") -> Membership:
    """Let somebody into a study. A site narrows a coordinator to its people."""
    if site and role != Membership.Role.COORDINATOR:
        raise SiteNotForRole(f"site: only a coordinator can be of one site; {role} sees the whole study.")
    member, _ = Membership.objects.update_or_create(study=study, user=user, defaults={"role": role, "site": site})
    audit.record(
        action="member.added",
        actor=actor,
        study_id=study.pk,
        about=user.audit_name,
        changes={"role": str(role), "site": site},
    )
    return member


@transaction.atomic
def publish_survey(
    *, study: Study, questionnaire: str, document: dict[str, Any], actor: str = "server"
) -> SurveyVersion:
    """Make the next version of a questionnaire; the same document again is the version that is there."""
    found = faults(document)
    if found:
        raise InvalidSurvey(" ".join(map(str, found)))
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    newest = study.survey_versions.filter(questionnaire=questionnaire).order_by("-number").first()
    if newest and newest.digest == digest(document):
        return newest
    version = SurveyVersion.objects.create(
        study=study,
        questionnaire=questionnaire,
        number=newest.number + 1 if newest else 1,
        document=document,
        digest=digest(document),
    )
    audit.record(
        action="survey.published",
        actor=actor,
        study_id=study.pk,
        about=f"survey:{questionnaire}:{version.number}",
        changes={"digest": version.digest},
    )
    return version


@transaction.atomic
def publish_sampling_plan(*, study: Study, document: dict[str, Any], actor: str = "server") -> SamplingPlan:
    """Make the next version of the sampling plan."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    newest = study.sampling_plans.order_by("-number").first()
    plan = SamplingPlan.objects.create(
        study=study, number=newest.number + 1 if newest else 1, document=document, digest=digest(document)
    )
    audit.record(
        action="sampling_plan.published",
        actor=actor,
        study_id=study.pk,
        about=f"sampling_plan:{plan.number}",
        changes={"digest": plan.digest},
    )
    return plan


@transaction.atomic
def lock_data(*, study: Study, now: datetime, actor: str = "server", reason: str = "") -> None:
    """End the study and close its data: what arrives later is quarantined, and its reports are final."""
    before = study.state
    study.state = Study.State.LOCKED
    study.locked_at = now
    study.save(update_fields=["state", "locked_at"])
    audit.record(
        action="data.locked",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={"state": [str(before), "locked"]},
        reason=reason,
    )

"""Reads of studies, always from the one who asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet
from django_scopes import scopes_disabled

from ema_server.accounts.models import User
from ema_server.ledger.models import AuditEvent
from ema_server.studies.models import Membership, SamplingPlan, Study, SurveyVersion
from ema_server.vault.services import KeyDestroyed


def studies_of(user: User) -> QuerySet[Study]:
    """The studies of which this researcher is a member, newest first."""
    return Study.objects.filter(memberships__user=user).order_by("-starts_on", "slug")


def membership(user: User, slug: str) -> Membership | None:
    """What this researcher is in the study of this name; None also where there is no such study."""
    with scopes_disabled():
        return Membership.objects.select_related("study").filter(user=user, study__slug=slug).first()


def role_in(user: User, study: Study) -> Membership | None:
    with scopes_disabled():
        return Membership.objects.filter(user=user, study=study).first()


@dataclass(frozen=True, slots=True)
class TrailLine:
    """One audit event as people read it."""

    event: AuditEvent
    actor: str
    reason: str


def audit_events(study: Study) -> QuerySet[AuditEvent]:
    """The study's events, newest first."""
    return AuditEvent.objects.filter(study=study).order_by("-number")


def trail_lines(events: Iterable[AuditEvent]) -> list[TrailLine]:
    """A page of events with their actors' names and their reasons."""
    found = list(events)
    numbers = {int(each.actor.partition(":")[2]) for each in found if each.actor.startswith("user:")}
    names = {f"user:{user.pk}": str(user) for user in User.objects.filter(pk__in=numbers)}
    return [TrailLine(each, names.get(each.actor, each.actor), _reason_of(each)) for each in found]


def _reason_of(event: AuditEvent) -> str:
    try:
        return event.reason or ""
    except KeyDestroyed:
        return "(erased with the person)"


def current_surveys(study: Study) -> list[SurveyVersion]:
    """The newest version of each questionnaire."""
    return list(study.survey_versions.order_by("questionnaire", "-number").distinct("questionnaire"))


def current_sampling_plan(study: Study) -> SamplingPlan | None:
    return study.sampling_plans.order_by("-number").first()

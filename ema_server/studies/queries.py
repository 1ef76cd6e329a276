"""Reads of studies, always from the one who asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256

from django.db.models import Count, QuerySet
from django_scopes import scopes_disabled

from ema_server.accounts.models import User
from ema_server.accounts.queries import with_second_factor
from ema_server.ledger.models import AuditEvent
from ema_server.studies.models import (
    ConsentText,
    CrisisCard,
    Invitation,
    Membership,
    SamplingPlan,
    Study,
    SurveyDraft,
    SurveyVersion,
)
from ema_server.surveys.document import read
from ema_server.surveys.texts import in_language
from ema_server.surveys.typed import read_typed
from ema_server.vault.sealing import CannotOpen
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
    changes: list[tuple[str, str]]
    person: int | None  # the participant whom it is about


def audit_events(study: Study) -> QuerySet[AuditEvent]:
    """The study's events, newest first."""
    return AuditEvent.objects.filter(study=study).order_by("-number")


def trail_lines(events: Iterable[AuditEvent]) -> list[TrailLine]:
    """A page of events with their actors' names and their reasons."""
    found = list(events)
    actors = (each.actor.removeprefix("user:") for each in found)
    numbers = {int(number) for number in actors if number.isdecimal() and len(number) < 19}
    names = {f"user:{user.pk}": str(user) for user in User.objects.filter(pk__in=numbers)}
    return [
        TrailLine(
            each,
            names.get(each.actor, each.actor),
            _reason_of(each),
            _changes_of(each),
            _participant_of(each),
        )
        for each in found
    ]


def _changes_of(event: AuditEvent) -> list[tuple[str, str]]:
    """Each change with its name. Whoever altered the trail can have put anything here; the page opens all the same."""
    changes = event.changes if isinstance(event.changes, dict) else {"changes": event.changes}
    return [(name.replace("_", " "), _in_words(name, value)) for name, value in changes.items()]


def _in_words(name: str, value: object) -> str:
    """A change as people read it: before → after; the fields that were written; counts by their names."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items() if count) or "nothing"
    if isinstance(value, list):
        return (", " if name == "fields" else " → ").join(_short(each) for each in value)
    return _short(value)


def _short(value: object) -> str:
    """A digest is known by its beginning; nothing at all has a word of its own."""
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and " " not in text else text or "none"


def _participant_of(event: AuditEvent) -> int | None:
    kind, _, number = event.about.partition(":")
    return int(number) if kind == "participant" and number.isdecimal() else None


def _reason_of(event: AuditEvent) -> str:
    try:
        return event.reason or ""
    except KeyDestroyed:
        return "(erased with the person)"
    except CannotOpen:  # the page must open all the more: it says which event does not hold
        return "(cannot be opened: this is not what was written)"


def current_surveys(study: Study) -> list[SurveyVersion]:
    """The newest version of each questionnaire."""
    return list(study.survey_versions.order_by("questionnaire", "-number").distinct("questionnaire"))


def survey_version(study: Study, questionnaire: str, number: int | None) -> SurveyVersion | None:
    """A version by its number; the current one where none is asked for."""
    versions = study.survey_versions.filter(questionnaire=questionnaire)
    return (versions if number is None else versions.filter(number=number)).order_by("-number").first()


def survey_draft(study: Study, questionnaire: str, number: int | None) -> SurveyDraft | None:
    if number is None:
        return None
    drafts = study.survey_drafts.filter(questionnaire=questionnaire, number=number)
    return drafts.select_related("edited_by").first()


def revisions(study: Study, questionnaire: str, most: int) -> list[SurveyDraft]:
    """The newest revisions of a draft, those on side lines among them, without their texts."""
    drafts = study.survey_drafts.filter(questionnaire=questionnaire)
    return list(drafts.select_related("edited_by").defer("text").order_by("-number")[:most])


def newest_import(study: Study, questionnaire: str) -> SurveyDraft | None:
    """The last revision that came from a file which held more than could be carried over."""
    drafts = study.survey_drafts.filter(questionnaire=questionnaire, aside=False).exclude(lost=[])
    return drafts.defer("text").order_by("-number").first()


def has_questionnaire(study: Study, questionnaire: str) -> bool:
    here = {"questionnaire": questionnaire}
    return study.survey_drafts.filter(**here).exists() or study.survey_versions.filter(**here).exists()


@dataclass(frozen=True, slots=True)
class QuestionnaireRow:
    """One questionnaire in the list: what is in use, and what is being written."""

    name: str
    current: SurveyVersion | None
    draft: SurveyDraft | None
    title: str
    items: int
    languages: tuple[str, ...]
    faults: int  # of the draft
    in_use: bool  # the draft is the current version


def questionnaires(study: Study) -> list[QuestionnaireRow]:
    """Every questionnaire that has a version or a draft, by name."""
    current = {version.questionnaire: version for version in current_surveys(study)}
    main = study.survey_drafts.filter(aside=False).select_related("edited_by")
    newest = {each.questionnaire: each for each in main.order_by("questionnaire", "-number").distinct("questionnaire")}
    rows = []
    for name in sorted({*current, *newest}):
        version, draft = current.get(name), newest.get(name)
        typed = read_typed(draft.text) if draft else None
        document = version.document if version else (typed.document if typed and typed.sound else None)
        survey = read(document) if document else None
        rows.append(
            QuestionnaireRow(
                name=name,
                current=version,
                draft=draft,
                title=in_language(survey.title, None, survey.languages) if survey else "",
                items=sum(item.asks for item in survey.items) if survey else 0,
                languages=survey.languages if survey else (),
                faults=len(typed.faults) if typed else 0,
                in_use=bool(version and typed and typed.document == version.document),
            )
        )
    return rows


def current_sampling_plan(study: Study) -> SamplingPlan | None:
    return study.sampling_plans.order_by("-number").first()


def consent_texts(study: Study) -> QuerySet[ConsentText]:
    """Every version of what people agree to, newest first."""
    return study.consent_texts.order_by("-number")


def current_consent_text(study: Study) -> ConsentText | None:
    return consent_texts(study).first()


def crisis_cards(study: Study) -> QuerySet[CrisisCard]:
    """Every version of the card, newest first."""
    return study.crisis_cards.order_by("-number")


def current_crisis_card(study: Study) -> CrisisCard | None:
    return crisis_cards(study).first()


def alerts_without_card(study: Study) -> str:
    """A sentence where questionnaires have alerts and the study has no card to show; empty where all is well."""
    found = [each.questionnaire for each in current_surveys(study) if each.survey.alerts]
    if not found or current_crisis_card(study) is not None:
        return ""
    return (
        f"{', '.join(found)}: alerts can fire, and the study has no crisis card that phones could show. Publish one "
        "on the page Study, or with manage.py publish_crisis_card."
    )


def studies_kept_too_long(today: date) -> QuerySet[Study]:
    """Studies whose data should be gone by now."""
    return Study.objects.filter(keep_until__lt=today).order_by("keep_until", "slug")


def people_counts(study: Study) -> dict[str, int]:
    """How many people there are, by state, and how many test participants beside them; the erased are not people here."""
    there = study.participants.exclude(state="erased")
    counts: dict[str, int] = {
        row["state"]: row["n"]
        for row in there.filter(test_person=False).order_by("state").values("state").annotate(n=Count("pk"))
    }
    return {"all": sum(counts.values()), "tests": there.filter(test_person=True).count(), **counts}


def practice_rules(study: Study) -> list[str]:
    """The rules of the current plan whose prompts are practice."""
    plan = current_sampling_plan(study)
    return [rule["key"] for rule in plan.document["rules"] if rule.get("practice")] if plan else []


def team(study: Study) -> list[tuple[Membership, bool]]:
    """Every member, with whether they have set up a second factor."""
    members = list(study.memberships.select_related("user").order_by("user__email"))
    protected = with_second_factor([member.user_id for member in members])
    return [(member, member.user_id in protected) for member in members]


def waiting_invitations(study: Study) -> QuerySet[Invitation]:
    """Neither accepted nor withdrawn, also such as have run out: those can be sent anew."""
    return study.invitations.filter(accepted_at__isnull=True, revoked_at__isnull=True).order_by("email")


def open_invitation(token: str, *, now: datetime) -> Invitation | None:
    """The invitation of this token, while it can be accepted."""
    with scopes_disabled():
        return (
            Invitation.objects.select_related("study", "invited_by")
            .filter(
                token_digest=sha256(token.encode()).hexdigest(),
                accepted_at__isnull=True,
                revoked_at__isnull=True,
                expires_at__gt=now,
            )
            .first()
        )


def other_last_days(study: Study) -> str:
    """How many are in whose last day is not the study's, in words; empty if nobody."""
    others = study.participants.filter(state__in=("active", "paused")).exclude(last_day=study.ends_on).count()
    return f"{others:,} {'person' if others == 1 else 'people'}" if others else ""

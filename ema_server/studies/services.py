"""Setting up a study: each function makes one thing and refuses what could not work later."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.common.canonical import digest
from ema_server.common.errors import DomainError
from ema_server.ledger import audit, outbox
from ema_server.ledger import services as ledger
from ema_server.studies import states
from ema_server.studies.crisis import card_faults
from ema_server.studies.models import (
    ConsentText,
    CrisisCard,
    Membership,
    SamplingPlan,
    Study,
    SurveyVersion,
    known_zone,
)
from ema_server.studies.publishing import guard_faults
from ema_server.studies.sampling_rules import plan_faults, rule_versions
from ema_server.studies.structure import PARTS, keys, structure_faults
from ema_server.surveys.faults import faults

CALLING_OFF = "calling_off"  # the kind of its jobs: prompts that fell while a study asked nothing
MAX_LANGUAGES = 40
MAX_CONSENT_TEXT = 50_000
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


class InvalidSurvey(DomainError):
    code = "invalid_survey"


class PlanMoved(DomainError):
    """Somebody else changed it since the editor looked."""

    code = "plan_moved"


class InvalidSamplingPlan(DomainError):
    code = "invalid_sampling_plan"
    status = 400


class InvalidStructure(DomainError):
    code = "invalid_structure"
    status = 400


class InvalidConsentText(DomainError):
    code = "invalid_consent_text"
    status = 400


class InvalidCrisisCard(DomainError):
    code = "invalid_crisis_card"
    status = 400


class InvalidDates(DomainError):
    code = "invalid_dates"
    status = 400


class NotConfirmed(DomainError):
    code = "not_confirmed"
    status = 400


class SiteNotForRole(DomainError):
    code = "site_not_for_role"
    status = 400


class InvalidStudy(DomainError):
    code = "invalid_study"
    status = 400


class SlugTaken(DomainError):
    code = "slug_taken"


@transaction.atomic
def create_study(*, owner: User, actor: str, **facts: Any) -> Study:
    """A new study with its first owner; `facts` are the study's own fields."""
    study = Study(**facts)
    found = _study_faults(study)
    if found:
        raise InvalidStudy(" ".join(found))
    try:
        with transaction.atomic():
            study.save()
    except IntegrityError as error:
        if not Study.objects.filter(slug=study.slug).exists():
            raise
        raise SlugTaken(f"slug: there is a study {study.slug!r} already; choose another short name.") from error
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
    states.require(_held(study).state, "questionnaires")
    newest = study.survey_versions.filter(questionnaire=questionnaire).order_by("-number").first()
    if newest and newest.digest == digest(document):
        return newest
    held = guard_faults(study, questionnaire, newest.document, document) if newest else []
    if held:
        raise InvalidSurvey(" ".join(map(str, held)))
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
def publish_sampling_plan(
    *, study: Study, document: dict[str, Any], based_on: int | None = None, actor: str = "server"
) -> SamplingPlan:
    """Make the next version of the sampling plan, if what it asks for can be done; the same document again is the version
    that is there. `based_on` is the version that the editor had before them (0: none). Who is in keeps the prompts that they
    have: `sampling.plan_edits` takes a new version to them."""
    held = _held(study)
    states.require(held.state, "sampling")
    found = faults_of_plan(held, document)
    if found:
        raise InvalidSamplingPlan("\n".join(found))
    newest = study.sampling_plans.order_by("-number").first()
    there = newest.number if newest else 0
    if based_on is not None and based_on != there:
        raise PlanMoved(
            f"Somebody else published version {there} of the plan meanwhile; yours began from {based_on or 'none'}. Nothing was "
            "published: look at theirs first."
        )
    if newest and newest.digest == digest(document):
        return newest
    plan = SamplingPlan.objects.create(
        study=study,
        number=there + 1,
        document=document,
        versions=versions_for(study, document, there + 1),
        digest=digest(document),
    )
    audit.record(
        action="sampling_plan.published",
        actor=actor,
        study_id=study.pk,
        about=f"sampling_plan:{plan.number}",
        changes={"digest": plan.digest},
    )
    return plan


def faults_of_plan(study: Study, document: Any) -> list[str]:
    """Why a sampling plan cannot be this study's."""
    published = {
        version.questionnaire: list(version.survey.by_name) for version in study.survey_versions.order_by("number")
    }
    return plan_faults(document, questionnaires=published, days=study.days, arms=keys(study.structure, "arms"))


def versions_for(study: Study, document: Mapping[str, Any], number: int) -> dict[str, int]:
    """By which version the moments of each rule are drawn, if this were version `number` of the study's plan."""
    earlier = study.sampling_plans.filter(number__lt=number).order_by("-number")
    return rule_versions(
        document,
        number,
        [
            (
                plan.document,
                plan.versions or dict.fromkeys((rule["key"] for rule in plan.document["rules"]), plan.number),
            )
            for plan in earlier
        ],
    )


@transaction.atomic
def change_state(*, study: Study, to: str, actor: str, now: datetime, reason: str = "") -> None:
    """Take a study to its next state, if `states` knows the way. Prompts that fell while it asked nothing are called off
    when it goes on, or is locked: required work, since another room does it."""
    held = _held(study)
    plan = held.sampling_plans.order_by("-number").first()
    found = states.transition_faults(
        held.state,
        to,
        reason=reason,
        questionnaires=held.survey_versions.count(),
        sampling_plans=int(plan is not None),
        faults_of_plan=faults_of_plan(held, plan.document) if plan is not None and held.state == states.DRAFT else [],
    )
    if found:
        raise states.NoSuchTransition(" ".join(found))
    _enter(study, held, to=to, now=now)
    audit.record(
        action="data.locked" if to == states.LOCKED else "study.state_changed",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={"state": [str(held.state), to]},
        reason=reason,
    )


@transaction.atomic
def lock_data(*, study: Study, now: datetime, actor: str = "server", reason: str = "") -> None:
    """End a study that runs, and close its data, in one step."""
    held = _held(study)
    if held.state in {states.LIVE, states.PAUSED}:
        before = held.state
        _enter(study, held, to=states.ENDED, now=now)
        _enter(study, _held(study), to=states.LOCKED, now=now)
        audit.record(
            action="data.locked",
            actor=actor,
            study_id=study.pk,
            about=f"study:{study.pk}",
            changes={"state": [str(before), "locked"]},
            reason=reason,
        )
    else:
        change_state(study=study, to=states.LOCKED, actor=actor, now=now, reason=reason)


@transaction.atomic
def change_structure(*, study: Study, structure: Mapping[str, Any], actor: str) -> None:
    """Say which arms, sites and roles there are. What somebody is in stays."""
    held = _held(study)
    states.require(held.state, "structure")
    found = structure_faults(structure)
    if not found:
        for part, field in zip(PARTS, ("arm", "site", "dyad_role"), strict=True):
            there = set(held.participants.exclude(**{field: ""}).values_list(field, flat=True))
            known = keys(structure, part)
            for key in sorted(there - set(known)) if known or part != "sites" else []:
                found.append(f"{part}: {key!r} has people in it; move them first, or keep it.")
    if found:
        raise InvalidStructure(" ".join(found))
    study.structure = {part: list(structure.get(part, [])) for part in PARTS}
    study.save(update_fields=["structure"])
    audit.record(
        action="study.structure_changed",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={part: [", ".join(keys(held.structure, part)), ", ".join(keys(structure, part))] for part in PARTS},
    )


@transaction.atomic
def change_dates(*, study: Study, actor: str, **facts: Any) -> list[str]:
    """Change `starts_on`, `zone`, `ends_on` or `keep_until`, as far as the state allows; returns what was changed."""
    held = _held(study)
    changed = [name for name, value in facts.items() if getattr(held, name) != value]
    for name in changed:
        if name != "keep_until":
            states.require(held.state, "last_day" if name == "ends_on" else "dates")
        setattr(study, name, facts[name])
    found = _dates_faults(study)
    if found:
        raise InvalidDates(" ".join(found))
    if changed:
        study.save(update_fields=changed)
        audit.record(
            action="study.dates_changed",
            actor=actor,
            study_id=study.pk,
            about=f"study:{study.pk}",
            changes={name: [str(getattr(held, name) or ""), str(facts[name] or "")] for name in changed},
        )
    return changed


@transaction.atomic
def publish_consent_text(
    *, study: Study, texts: Mapping[str, str], actor: str, must_consent_anew: bool = False
) -> ConsentText:
    """Make the next version of what people agree to; the same texts again are the version that is there."""
    held = _held(study)
    states.require(held.state, "consent")
    given = {language: text.strip() for language, text in texts.items()}
    found = [] if given else ["texts: a consent text needs at least one language."]
    if len(given) > MAX_LANGUAGES:
        found.append(f"texts: {len(given)} languages; at most {MAX_LANGUAGES}.")
    for language, text in given.items():
        if not LANGUAGE.fullmatch(language):
            found.append(f"texts: {language[:20]!r} is no language; write a code like en, pt-BR or ar.")
        if not text or len(text) > MAX_CONSENT_TEXT or "\0" in text:
            found.append(f"texts.{language[:20]}: must hold 1 to {MAX_CONSENT_TEXT} characters, none of them NUL.")
    if found:
        raise InvalidConsentText(" ".join(found))
    newest = held.consent_texts.order_by("-number").first()
    if newest and newest.digest == digest(given):
        return newest
    version = ConsentText.objects.create(
        study=study,
        number=newest.number + 1 if newest else 1,
        texts=given,
        digest=digest(given),
        must_consent_anew=must_consent_anew,
    )
    audit.record(
        action="consent_text.published",
        actor=actor,
        study_id=study.pk,
        about=f"consent_text:{version.number}",
        changes={"digest": version.digest, "must_consent_anew": must_consent_anew},
    )
    return version


@transaction.atomic
def publish_crisis_card(*, study: Study, card: Mapping[str, Any], actor: str) -> CrisisCard:
    """Make the next version of the card that phones show when somebody may need help; the same card again is the version
    that is there."""
    held = _held(study)
    states.require(held.state, "crisis_card")
    found = card_faults(card)
    if found:
        raise InvalidCrisisCard(" ".join(found))
    newest = held.crisis_cards.order_by("-number").first()
    if newest and newest.digest == digest(card):
        return newest
    version = CrisisCard.objects.create(
        study=study, number=newest.number + 1 if newest else 1, card=dict(card), digest=digest(card)
    )
    audit.record(
        action="crisis_card.published",
        actor=actor,
        study_id=study.pk,
        about=f"crisis_card:{version.number}",
        changes={"digest": version.digest},
    )
    return version


def _held(study: Study) -> Study:
    """The study's row as it is now, held until the transaction ends."""
    return Study.objects.select_for_update(no_key=True).get(pk=study.pk)


def _enter(study: Study, held: Study, *, to: str, now: datetime) -> None:
    """Write the new state, and ask for the prompts of a silence that is over to be called off."""
    study.state, study.quiet_since, study.locked_at = Study.State(to), held.quiet_since, held.locked_at
    if to in {states.PAUSED, states.ENDED}:
        study.quiet_since = held.quiet_since or now
    elif held.quiet_since is not None:
        ledger.ask_for(
            kind=CALLING_OFF,
            key=f"{study.pk}:{held.quiet_since.isoformat()}",
            payload={
                "study": study.pk,
                "since": held.quiet_since.isoformat(),
                "until": None if to == states.LOCKED else now.isoformat(),
                "why": str(held.state),
            },
        )
        outbox.ring(CALLING_OFF)
        study.quiet_since = None
    if to == states.LOCKED:
        study.locked_at = now
    study.save(update_fields=["state", "quiet_since", "locked_at"])


def _study_faults(study: Study) -> list[str]:
    try:
        study.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        return [f"{name}: {' '.join(said)}" for name, said in error.message_dict.items()]
    return _dates_faults(study)


def _dates_faults(study: Study) -> list[str]:
    found = []
    for name in ("starts_on", "ends_on"):
        if not isinstance(getattr(study, name), date):
            return [f"{name}: must be a date like 2026-03-02."]
    if study.ends_on < study.starts_on:
        found.append(f"ends_on: {study.ends_on} is before the first day, {study.starts_on}.")
    if study.keep_until is not None and study.keep_until <= study.ends_on:
        found.append(f"keep_until: {study.keep_until} is not after the last day, {study.ends_on}.")
    try:
        known_zone(study.zone)
    except ValidationError as error:
        found.append(f"zone: {error.messages[0]}")
    return found

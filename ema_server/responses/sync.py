"""What a phone needs to know: its questionnaires, and the prompts of which nobody knows the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from django.db.models import Q

from ema_server.common.openapi import said
from ema_server.messages.queries import messages_for
from ema_server.participants.models import Device
from ema_server.participants.queries import ConsentAsked, consent_asked_of
from ema_server.sampling.decisions import probability
from ema_server.sampling.follow_ups import follow_ups_of
from ema_server.sampling.models import Decision, Prompt
from ema_server.sampling.queries import (
    event_buttons,
    outside_the_pause,
    rules_asked_on_withdrawal,
    rules_of_prompts,
    with_an_outcome,
)
from ema_server.studies import states
from ema_server.studies.models import CrisisCard
from ema_server.studies.queries import current_crisis_card, current_sampling_plan, current_surveys
from ema_server.studies.sampling_rules import TRAVEL

HORIZON = timedelta(days=14)


class DecisionOut(msgspec.Struct, frozen=True):
    """What chance chose at a decision point. It is done where the person is available: docs/sampling.md."""

    option: str
    probability: Annotated[float, said("of this option")]
    options: Annotated[dict[str, float], said("all of them, each with its probability")]
    rest_minutes: Annotated[int, said("not available for so long after a finished answer")]


class PromptOut(msgspec.Struct, frozen=True):
    """What to ask and when. A prompt of an earlier sync that is not here any more was called off or has its outcome."""

    id: Annotated[str, said("stays when the prompt moves", format="uuid")]
    questionnaire: str
    survey_version: int
    day: Annotated[int, said("1 is the person's first day")]
    slot: Annotated[int, said("which of its rule's prompts of the day")]
    scheduled_at: Annotated[str, said("UTC; may differ from the last sync, where a prompt moved")]
    expires_at: Annotated[str, said("until when it can be started")]
    grace_minutes: Annotated[int, said("how long after expires_at whoever has started by then may finish")]
    remind_at: Annotated[list[str], said("when the phone asks again until there is an answer, whatever was dismissed")]
    local: Annotated[str, said("the clock on the wall in `zone`")]
    zone: str
    practice: bool
    wave: str
    decision: DecisionOut | None


class EventOut(msgspec.Struct, frozen=True):
    """A button that the app shows on these days; what it sends names no prompt."""

    rule: str
    questionnaire: str
    survey_version: int
    first_day: str
    last_day: str
    weekdays: tuple[int, ...]
    practice: bool


class FollowUpOut(msgspec.Struct, frozen=True):
    """What follows an answer to `after`: `minutes` later a prompt whose id is uuid5(the answer's client_id, rule). A phone
    that is offline makes it itself, by these rules: docs/sampling.md."""

    rule: Annotated[str, said("the name in uuid5")]
    questionnaire: Annotated[str, said("what is asked")]
    survey_version: int
    after: Annotated[str, said("the questionnaire whose finished answer it follows")]
    minutes: Annotated[int, said("after that answer was finished")]
    condition: Annotated[str, said("an expression about that answer; empty: always")]
    at_most: Annotated[int | None, said("on one day; null: any number")]
    open_minutes: int
    grace_minutes: int
    reminders: tuple[int, ...]
    gap_minutes: Annotated[int, said("not asked where another prompt than the answered one is closer")]
    first_day: str
    last_day: str
    weekdays: tuple[int, ...]
    waking: Annotated[
        dict[str, tuple[str, str]],
        said("by ISO weekday; empty: any hour; an end not after its beginning is of the next day"),
    ]
    practice: bool


class ConsentOut(msgspec.Struct, frozen=True):
    """What people agree to now, and whether this person did. Show it again where `must_consent_anew`."""

    version: str
    digest: str
    texts: dict[str, str]
    given: bool
    must_consent_anew: bool


class SurveyOut(msgspec.Struct, frozen=True):
    questionnaire: str
    version: int
    document: dict[str, Any]


class MessageOut(msgspec.Struct, frozen=True):
    """What the study team wrote to this person. One that is here no more has run out or was taken back."""

    id: str
    text: str
    written_at: str


class AlertRuleOut(msgspec.Struct, frozen=True):
    """Answers of which somebody must know at once. The phone asks `when` of a finished answer to this version, as
    docs/questionnaires.md says under Alerts, and shows the card at once, offline too."""

    questionnaire: str
    survey_version: int
    key: str
    when: Annotated[str, said("an expression over the answers and scores of the questionnaire")]
    card: Annotated[str | None, said("`crisis`: show the crisis card when it fires; null: show nothing")]


class ContactOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody to turn to: by phone or at an address."""

    label: str
    phone: Annotated[str | None, said("to be dialled")] = None
    url: Annotated[str | None, said("https alone")] = None


class CardPageOut(msgspec.Struct, frozen=True):
    title: str
    text: Annotated[str, said("plain text, never markup")]
    contacts: list[ContactOut]


class CrisisCardOut(msgspec.Struct, frozen=True):
    """Whom the person can turn to at once. Keep it on the phone: it is needed when there is no network."""

    version: int
    pages: Annotated[dict[str, CardPageOut], said("by language; where none is the phone's, `en` or any other")]


class SyncContent(msgspec.Struct, frozen=True):
    """What the ETag covers: all but the clock. `travel` is when another time zone takes effect: `at_once`, `next_day` or
    `home` (never)."""

    surveys: list[SurveyOut]
    prompts: list[PromptOut]
    events: list[EventOut]
    follow_ups: list[FollowUpOut]
    travel: str
    consent: ConsentOut | None
    messages: Annotated[list[MessageOut], said("the newest 50, the newest first")]
    alert_rules: Annotated[list[AlertRuleOut], said("of the surveys above, so that nobody need read their documents")]
    crisis_card: Annotated[CrisisCardOut | None, said("null: the study has none")]


class SyncOut(SyncContent, frozen=True, kw_only=True):
    server_time: str


def sync_content(device: Device, *, now: datetime) -> SyncContent:
    """The study's questionnaires, and this person's prompts that have no outcome yet, up to two weeks ahead.

    A phone that was away is told of the past too: it may hold answers that nobody has seen. Of a study that is paused or
    has ended it is told nothing of what lies ahead, of a person who left only of what is asked on leaving.
    """
    person, study = device.participant, device.study
    surveys = current_surveys(study)
    versions = {survey.questionnaire: survey.number for survey in surveys}
    asks = states.allows(study.state, "prompt")
    told = Q(scheduled_at__lte=now + HORIZON)
    left = person.state == person.State.WITHDRAWN
    if left or not asks:
        on_leaving = Q(rule__in=rules_asked_on_withdrawal(study))
        told &= on_leaving if left else on_leaving | Q(scheduled_at__lt=study.quiet_since or now)
    waiting = person.prompts.filter(
        told, outside_the_pause(person, now=now), ~with_an_outcome(), submission__isnull=True
    )
    prompts = [
        prompt
        for prompt in waiting.select_related("decision").order_by("scheduled_at", "pk")
        if prompt.questionnaire in versions
    ]
    rules = rules_of_prompts(prompts)
    asked = asks and person.state == person.State.ACTIVE
    plan = current_sampling_plan(study) if asked else None
    buttons, following = event_buttons(person, plan), follow_ups_of(person, plan)
    return SyncContent(
        surveys=[SurveyOut(survey.questionnaire, survey.number, survey.document) for survey in surveys],
        prompts=[
            _prompt(prompt, versions[prompt.questionnaire], rules.get((prompt.plan_id, prompt.rule), {}))
            for prompt in prompts
        ],
        events=[
            EventOut(survey_version=versions[button.questionnaire], **asdict(button))
            for button in buttons
            if button.questionnaire in versions
        ],
        follow_ups=[
            FollowUpOut(survey_version=versions[each.questionnaire], **asdict(each))
            for each in following
            if each.questionnaire in versions
        ],
        travel=plan.document.get("travel", TRAVEL[0]) if plan else TRAVEL[0],
        consent=_consent(consent_asked_of(person)),
        messages=[
            MessageOut(str(each.pk), each.text, each.written_at.isoformat()) for each in messages_for(person, now=now)
        ],
        alert_rules=[
            AlertRuleOut(each.questionnaire, each.number, alert.key, alert.condition, alert.card)
            for each in surveys
            for alert in each.survey.alerts
        ],
        crisis_card=_crisis_card(current_crisis_card(study)),
    )


def _prompt(prompt: Prompt, survey_version: int, rule: Mapping[str, Any]) -> PromptOut:
    """A prompt as phones read it, with what its rule says in the version of the plan that made it."""
    decision: Decision | None = getattr(prompt, "decision", None)
    return PromptOut(
        id=str(prompt.pk),
        questionnaire=prompt.questionnaire,
        survey_version=survey_version,
        day=prompt.day,
        slot=prompt.slot,
        scheduled_at=prompt.scheduled_at.isoformat(),
        expires_at=prompt.expires_at.isoformat(),
        grace_minutes=prompt.grace_minutes,
        remind_at=[(prompt.scheduled_at + timedelta(minutes=after)).isoformat() for after in rule.get("reminders", ())],
        local=f"{prompt.local_date}T{prompt.local_time}",
        zone=prompt.zone,
        practice=prompt.practice,
        wave=prompt.wave,
        decision=None if decision is None else _decision(decision, rule),
    )


def _decision(decision: Decision, rule: Mapping[str, Any]) -> DecisionOut:
    return DecisionOut(
        option=decision.option,
        probability=probability(decision.options, decision.option),
        options=decision.options,
        rest_minutes=rule.get("decide", {}).get("rest_minutes", 0),
    )


def _crisis_card(current: CrisisCard | None) -> CrisisCardOut | None:
    if current is None:
        return None
    pages = {
        language: CardPageOut(
            page["title"], page["text"], [ContactOut(**contact) for contact in page.get("contacts", ())]
        )
        for language, page in current.card.items()
    }
    return CrisisCardOut(current.number, pages)


def _consent(asked: ConsentAsked | None) -> ConsentOut | None:
    if asked is None:
        return None
    text = asked.text
    return ConsentOut(text.version, text.digest, text.texts, asked.given, asked.anew)

"""A prompt's moment made again from what its drawing kept: years later, and without trusting what the row says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ema_server.sampling.models import Planning, Prompt
from ema_server.sampling.plan import MINUTE, draw_day, draw_once
from ema_server.sampling.planning import person_of
from ema_server.sampling.queries import versions_of
from ema_server.studies.sampling_slots import Slot


@dataclass(frozen=True, slots=True)
class Derived:
    """A moment made again, and how. `before` are those of the day that stood when it was placed, in the order of placing."""

    at: datetime | None  # None: nothing makes this prompt
    how: str  # random, fixed, enrolment, withdrawal, follow_up
    slot: Slot | None = None  # of a prompt of the person's days
    before: tuple[tuple[Slot, datetime], ...] = ()
    seed: Mapping[str, Any] | None = None  # what is hashed with the study's secret; None where nothing is random
    answered: datetime | None = None  # the answer that a follow-up comes after


def rule_of(planning: Planning, prompt: Prompt) -> Mapping[str, Any] | None:
    return next((rule for rule in planning.plan.document["rules"] if rule["key"] == prompt.rule), None)


def derive(planning: Planning, prompt: Prompt) -> Derived:
    """What a drawing makes of this prompt's rule, day and slot. Of the row it reads nothing else; a follow-up is looked for
    among the person's answers."""
    rule = rule_of(planning, prompt)
    if rule is None:
        return Derived(None, "fixed")
    if rule.get("once") in ("enrolment", "withdrawal"):
        return _of_the_moment(planning, prompt, rule["once"])
    if "after" in rule:
        return _after_an_answer(prompt, rule["after"])
    return _of_the_day(planning, prompt)


def first_planning(prompt: Prompt, was_at: datetime, plannings: Sequence[Planning]) -> Planning | None:
    """Of a person's drawings before a prompt moved, in their order: the one that it came of, whose time it had first."""
    if len(plannings) < 2:
        return plannings[0] if plannings else None
    return next((each for each in plannings if derive(each, prompt).at == was_at), None)


def _of_the_day(planning: Planning, prompt: Prompt) -> Derived:
    person, versions = person_of(prompt.participant.pseudonym, planning.facts), versions_of(planning.plan)
    secret = bytes(prompt.participant.study.secret)
    drawn = draw_day(planning.plan.document, secret=secret, person=person, versions=versions, day=prompt.day)
    own = next(((slot, at) for slot, at in drawn if (slot.rule, slot.number) == (prompt.rule, prompt.slot)), None)
    if own is None:
        return Derived(None, "fixed")
    slot, at = own
    if slot.fixed:
        return Derived(at, "fixed", slot)
    seed = {
        "person": person.pseudonym,
        "local_day": str(person.calendar.local_day(prompt.day)),
        "rule": prompt.rule,
        "rule_version": versions[prompt.rule],
    }
    fixed = [each for each in drawn if each[0].fixed]
    drawn_before = drawn[: drawn.index(own)]  # they come rule by rule, in the order of drawing
    before = (*fixed, *(each for each in drawn_before if not each[0].fixed))
    return Derived(at, "random", slot, before, seed)


def _of_the_moment(planning: Planning, prompt: Prompt, when: str) -> Derived:
    """A one-off survey of an enrolment or a withdrawal."""
    person = person_of(prompt.participant.pseudonym, planning.facts)
    draws = draw_once(planning.plan.document, when, now=planning.made_at, calendar=person.calendar, zone=person.zone)
    return Derived(next((draw.opens for draw in draws if draw.rule == prompt.rule), None), when)


def _after_an_answer(prompt: Prompt, after: Mapping[str, Any]) -> Derived:
    wait = after["minutes"] * MINUTE
    answers = prompt.participant.submissions.filter(survey_version__questionnaire=after["questionnaire"])
    for answered, received in answers.order_by("received_at").values_list("answered_at", "received_at"):
        finished = min(answered or received, received)  # as sampling/follow_ups.py has it
        if timedelta() <= finished + wait - prompt.scheduled_at < MINUTE:
            return Derived(prompt.scheduled_at, "follow_up", answered=finished)
    return Derived(None, "follow_up")

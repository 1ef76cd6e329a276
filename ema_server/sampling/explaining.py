"""How a prompt came to be: what its drawing knew, the draw made again and compared with the ledger, and what happened since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ema_server.sampling.deriving import Derived, derive, rule_of
from ema_server.sampling.models import Decision, Planning, Prompt
from ema_server.sampling.plan import clocks
from ema_server.sampling.planning import person_of
from ema_server.sampling.prompt_state import Happening, PromptState
from ema_server.sampling.queries import versions_of
from ema_server.sampling.timeline import Moves, state_of, timeline
from ema_server.studies.sampling_arithmetic import EVERY, waking_on
from ema_server.studies.sampling_slots import clock as of_day


@dataclass(frozen=True, slots=True)
class Explanation:
    """`verdict` is "same", "differs" or "not_drawn" (nothing here drew it); `why` says it in a sentence."""

    prompt: Prompt
    derived: Derived | None
    verdict: str
    why: str
    happenings: list[Happening]
    state: PromptState


def explain(prompt: Prompt, *, now: datetime) -> Explanation:
    happenings = timeline(prompt)
    derived = derive(prompt.planning, prompt) if prompt.planning else None
    verdict, why = _compared(prompt, derived)
    return Explanation(prompt, derived, verdict, why, happenings, state_of(prompt, happenings, now=now))


def _compared(prompt: Prompt, derived: Derived | None) -> tuple[str, str]:
    if derived is None and prompt.plan.document.get("imported"):
        return "not_drawn", "Imported with a finished study: it was not drawn here."
    if derived is None:
        return "not_drawn", "It was drawn before the ledger kept what drawings depended on: it cannot be derived again."
    if derived.at is None and derived.how == "follow_up":
        return "differs", "No answer of this person comes at that distance before it."
    if derived.at is None:
        return "differs", "The plan makes no such prompt out of what the drawing knew."
    if derived.at == prompt.scheduled_at:
        return "same", "Derived again: the same."
    there = f"Derived again it is at {_utc(derived.at)}; the ledger holds {_utc(prompt.scheduled_at)}."
    offset = clocks(prompt.scheduled_at, ZoneInfo(prompt.zone))["utc_offset_minutes"]
    if offset != prompt.utc_offset_minutes:
        return "differs", (
            f"{there} The tables of time zones have changed since: {prompt.zone} was {_offset(prompt.utc_offset_minutes)} then "
            f"by what was known, and is {_offset(offset)} by what is known now. The ledger's own time is the one that was asked."
        )
    return (
        "differs",
        f"{there} Nothing in the ledger says why: the row, the plan or the secret was changed by other means.",
    )


# As data -----------------------------------------------------------------------------------------------------------------


def as_data(found: Explanation) -> dict[str, Any]:
    """All of it as JSON takes it. The study's secret is in none of it."""
    prompt, derived = found.prompt, found.derived
    return {
        "prompt": {
            "id": str(prompt.pk), "study": prompt.study.slug, "person": prompt.participant.pseudonym, "rule": prompt.rule,
            "questionnaire": prompt.questionnaire, "day": prompt.day, "slot": prompt.slot, "wave": prompt.wave,
            "practice": prompt.practice, "scheduled_at": _iso(prompt.scheduled_at), "expires_at": _iso(prompt.expires_at),
            "grace_minutes": prompt.grace_minutes, "local": f"{prompt.local_date}T{prompt.local_time}", "zone": prompt.zone,
            "utc_offset_minutes": prompt.utc_offset_minutes,
        },
        "drawing": None if prompt.planning is None else _drawing(prompt, prompt.planning),
        "derived": None if derived is None else {
            "how": derived.how, "at": _iso(derived.at), "seed": derived.seed, "answered": _iso(derived.answered),
            "window": None if derived.slot is None else [of_day(derived.slot.earliest), of_day(derived.slot.latest)],
            "placed_before": [
                {"rule": slot.rule, "slot": slot.number, "at": _iso(at)} for slot, at in derived.before
            ],
        },
        "verdict": found.verdict,
        "why": found.why,
        "decision": _decision(prompt),
        "timeline": [
            {
                "kind": each.kind, "code": each.code, "words": each.words, "phone_at": _iso(each.at), "received_at": _iso(each.told),
                "by": "phone" if each.by_phone else "server", "was_at": _iso(each.was_at), "now_at": _iso(each.now_at),
            }
            for each in found.happenings
        ],
        "state": {**asdict(found.state), "in_words": found.state.in_words},
    }  # fmt: skip


def _drawing(prompt: Prompt, planning: Planning) -> dict[str, Any]:
    """The plan, the rule and the facts of the person at the time."""
    document, person = planning.plan.document, person_of(prompt.participant.pseudonym, planning.facts)
    waking, bounded = waking_on(document, person.waking, _local_day(prompt, planning).isoweekday())
    own = {EVERY, str(_local_day(prompt, planning).isoweekday())} & person.waking.keys()
    return {
        "made_at": _iso(planning.made_at),
        "cause": planning.cause,
        "plan_version": planning.plan.number,
        "rule_version": versions_of(planning.plan).get(prompt.rule),
        "rule": rule_of(planning, prompt),
        "gap_minutes": document.get("gap_minutes", 0),
        "facts": planning.facts,
        "waking": [of_day(each) for each in waking],
        "waking_from": "the person" if own else "the plan" if bounded else "nobody: the usual ones",
    }


def _local_day(prompt: Prompt, planning: Planning) -> Any:
    return person_of("", planning.facts).calendar.local_day(prompt.day)


def _decision(prompt: Prompt) -> dict[str, Any] | None:
    decision = Decision.objects.filter(prompt=prompt).first()
    if decision is None:
        return None
    return {
        "options": decision.options,
        "draw": decision.draw,
        "option": decision.option,
        "made_at": _iso(decision.made_at),
    }


# In words ----------------------------------------------------------------------------------------------------------------


def in_words(found: Explanation) -> Iterator[str]:
    """The same for a researcher, line by line."""
    data, prompt = as_data(found), found.prompt
    yield f"Prompt {prompt.pk}: {prompt.questionnaire} of {prompt.participant.pseudonym} in {prompt.study.slug}"
    yield f"  rule {prompt.rule}, day {prompt.day}, prompt {prompt.slot} of the rule's day{_some('wave', prompt.wave)}"
    local = f"{prompt.local_date:%A} {prompt.local_date} {prompt.local_time:%H:%M}"
    yield f"  asked {local} in {prompt.zone} ({_offset(prompt.utc_offset_minutes)}), which is {_utc(prompt.scheduled_at)}"
    grace = f"; whoever has started has {prompt.grace_minutes} minutes more" if prompt.grace_minutes else ""
    yield f"  to be started until {_utc(prompt.expires_at)}{grace}"
    yield ""
    yield "How it came to be"
    if prompt.planning is not None and found.derived is not None:
        yield from _drawn(data["drawing"], found.derived, prompt)
    yield f"  {found.why}"
    yield from _moved(found)
    if data["decision"]:
        shares = ", ".join(f"{name} {share:g}" for name, share in data["decision"]["options"].items())
        yield f"  Decision: {shares}; the draw {data['decision']['draw']:.6f} fell on {data['decision']['option']}"
    yield ""
    yield "What happened (server's clock; the phone's where it told)"
    for each in found.happenings:
        phone = (
            f", phone {_seconds(each.at)}" if each.at else ", the phone's time is not believed" if each.by_phone else ""
        )
        what = " ".join(filter(None, (f"[{each.code}]" if each.code else "", each.words)))
        yield f"  {_seconds(each.told)}{phone}  {each.kind}{f'  {what}' if what else ''}"
    if not found.happenings:
        yield "  nothing is known"
    yield ""
    yield from _state(found.state)


def _drawn(drawing: Mapping[str, Any], derived: Derived, prompt: Prompt) -> Iterator[str]:
    facts, planning = drawing["facts"], prompt.planning
    assert planning is not None
    cause = planning.get_cause_display().lower()
    yield f"  Drawn {_utc(planning.made_at)} for {cause}, by version {drawing['plan_version']} of the sampling plan"
    yield f"  Rule: {rule_in_words(drawing['rule'] or {})}"
    days = f"{facts['first_day']} to {facts['last_day']}"
    yield f"  The person then: in from {days}, in {facts['zone']}{_some('arm', facts['arm'])}{_own(facts['schedule'])}"
    yield f"  Awake {'–'.join(drawing['waking'])} (by {drawing['waking_from']}); the gap is {drawing['gap_minutes']} minutes"
    if derived.slot is not None and not derived.slot.fixed:
        yield f"  Window: {of_day(derived.slot.earliest)} to {of_day(derived.slot.latest)}, each minute possible"
        zone = ZoneInfo(facts["zone"])
        placed = ", ".join(f"{at.astimezone(zone):%H:%M} ({slot.rule} {slot.number})" for slot, at in derived.before)
        yield f"  Placed before it that day: {placed or 'nothing'}"
    if derived.seed is not None:
        named = "|".join(str(value) for value in derived.seed.values())
        yield f"  Seed: HMAC-SHA256 of {named!r} (person|local day|rule|version of the rule) under the study's secret"
    if derived.answered is not None:
        yield f"  It follows the answer of {_utc(derived.answered)}"


def rule_in_words(rule: Mapping[str, Any]) -> str:
    """A rule's own words, short: "windows [["09:00", "10:30"]], open_minutes 60"."""
    left_out = {"key", "questionnaire", "title"}
    said = (f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in rule.items() if name not in left_out)
    return ", ".join(said) or "is not in the plan"


def _moved(found: Explanation) -> Iterator[str]:
    for each in found.happenings:
        if each.kind in Moves or (each.kind == "cancelled" and not each.by_phone):
            verb = {"rescheduled": "Changed", "restored": "Asked again", "cancelled": "Called off"}[each.kind]
            yield f"  {verb} {_utc(each.told)}{f' [{each.code}]' if each.code else ''}: {each.words}"


def _state(state: PromptState) -> Iterator[str]:
    yield f"State: {state.state} ({state.in_words})"
    yield f"  delivered: {state.delivered}"
    yield f"  started: {_yes(state.started)}; completed: {_yes(state.completed)}; in time: {_yes(state.in_time)}" + (
        f" (by the {state.judged_by}'s clock)" if state.judged_by else ""
    )
    yield from (f"  flag {flag.code}: {flag.words}" for flag in state.flags)
    if not state.flags:
        yield "  nothing contradicts anything"


def _own(schedule: Mapping[str, Any]) -> str:
    return "".join(f", own {name} {value}" for name, value in schedule.items() if value)


def _some(name: str, value: str) -> str:
    return f", {name} {value}" if value else ""


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _seconds(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _offset(minutes: int) -> str:
    hours, rest = divmod(abs(timedelta(minutes=minutes)) // timedelta(minutes=1), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"

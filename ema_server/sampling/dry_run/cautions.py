"""What whoever wrote the plan should look at, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ema_server.sampling.dry_run.found import Burden, Gaps, Phones, RuleFound
from ema_server.sampling.dry_run.measures import Everybody
from ema_server.sampling.dry_run.responding import percent
from ema_server.studies.sampling_slots import clock

EARLY, LATE = 7 * 60, 23 * 60
FEW_DAYS = 7  # for so long a phone may well be offline, as on a holiday
MANY_PROMPTS = 10
MANY_MINUTES = 45
LOST = 0.10
OFTEN = 0.01


def warnings_of(
    rules: Sequence[RuleFound],
    everybody: Everybody,
    gaps: Gaps,
    burden: Burden,
    phones: Phones,
    overlaps: Sequence[tuple[str, str, float]],
    refused: Sequence[str],
    never: Sequence[str],
) -> list[str]:
    found = list(refused)
    found += [f"Rule {key} never asks anybody." for key in never]
    if gaps.below:
        found.append(
            f"{gaps.below} prompts come sooner than the gap of {gaps.asked} minutes: {' '.join(gaps.below_named)}"
        )
    found += _overlapping(overlaps)
    found += _at_odd_hours(everybody)
    found += [
        f"{rule.left_out:,} prompts of {rule.key} are not asked, since they lie outside of people's own waking hours; count "
        "them from wake and sleep to ask everybody as often."
        for rule in rules
        if rule.left_out
    ]
    if phones.reach_least is not None and phones.reach_least < FEW_DAYS:
        found.append(
            f"More than {phones.limit} notifications in {phones.reach_least:.1f} days: an iPhone that is offline for longer falls "
            "silent. Fewer reminders reach further."
        )
    if burden.most_in_a_day > MANY_PROMPTS:
        found.append(f"Somebody is asked {burden.most_in_a_day} times on one day.")
    if burden.busiest_minutes is not None and burden.busiest_minutes > MANY_MINUTES:
        found.append(f"The busiest day takes {burden.busiest_minutes:.0f} minutes of questionnaires.")
    found += [
        f"{percent(rule.closed)} of {rule.key} are noticed only after they have closed ({rule.open_minutes} minutes); leave "
        "them open for longer."
        for rule in rules
        if rule.closed is not None and rule.closed > LOST
    ]
    return found


def notes_of(document: Mapping[str, Any], rules: Sequence[RuleFound], study_days: int) -> list[str]:
    """What is as it should be, and good to know."""
    found = []
    last = max((rule.last_day for rule in rules if rule.last_day), default=None)
    if last is not None and last < study_days:
        found.append(f"Nothing is asked after day {last} of {study_days}.")
    followed = [rule["key"] for rule in document["rules"] if "after" in rule]
    if followed:
        found.append(
            f"{', '.join(followed)}: follow-ups of the simulated answers, their conditions always taken as met, so at most as "
            "many as shown."
        )
    leaving = [rule["key"] for rule in document["rules"] if rule.get("once") == "withdrawal"]
    if leaving:
        found.append(f"{', '.join(leaving)}: asked of whoever leaves; nobody does here.")
    found += [
        f"{rule.key}: each prompt is a decision point; "
        + ", ".join(f"{name} {percent(share)}" for name, share in rule.options.items())
        + ". Every one is counted here, whatever is chosen."
        for rule in rules
        if rule.options
    ]
    return found


def never_asked(document: Mapping[str, Any], rules: Sequence[RuleFound]) -> list[str]:
    """The rules of which nobody saw anything; nobody leaves in a dry run."""
    leaving = {rule["key"] for rule in document["rules"] if rule.get("once") == "withdrawal"}
    return [rule.key for rule in rules if not rule.prompts and rule.key not in leaving]


def _overlapping(overlaps: Sequence[tuple[str, str, float]]) -> list[str]:
    """A sentence for each rule whose prompts are still open when others come."""
    found: dict[str, list[str]] = {}
    for before, now, share in overlaps:
        if share >= OFTEN:
            found.setdefault(before, []).append(f"{percent(share)} of {now}")
    return [
        f"Prompts overlap: {before} is still open when the next one comes, at {', '.join(others)}."
        for before, others in found.items()
    ]


def _at_odd_hours(everybody: Everybody) -> list[str]:
    """Of people who have the plan's hours; whoever has their own is awake then."""
    walls = [each.wall for someone, prompts in everybody if not someone.own_hours for each in prompts]
    early = [wall for wall in walls if wall < EARLY]
    late = [wall for wall in walls if wall >= LATE]
    found = []
    if early:
        found.append(f"{len(early):,} prompts come before {clock(EARLY)}, the earliest at {clock(min(early))}.")
    if late:
        found.append(f"{len(late):,} prompts come after {clock(LATE)}, the latest at {_time(max(late))}.")
    return found


def _time(wall: int) -> str:
    return clock(wall % (24 * 60))

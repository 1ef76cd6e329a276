"""`manage.py compliance STUDY [--by day] [--site S] [--as-of T] [--json]`: how much of what was asked was answered."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from ema_server.common import clock
from ema_server.responses.compliance import DENOMINATORS, GROUPINGS, WEEKDAYS, Compliance, Counts, compliance
from ema_server.responses.participation import Participation, Share, participation
from ema_server.studies.commands import StudyCommand, in_lines
from ema_server.studies.models import Study

BAR = 20
BLOCKS = " ▏▎▍▌▋▊▉█"


class Command(StudyCommand):
    help = "Compliance with its denominators, by day, person, weekday, hour, wave or rule; acceptance, attrition and retention."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="the study's short name, for instance migraine")
        parser.add_argument(
            "--by", choices=GROUPINGS, default="day", help="what a line is of (default: a person's own day)"
        )
        parser.add_argument("--site", default="", help="of the people of one site alone")
        parser.add_argument("--as-of", help="as was known then, like 2026-03-15T02:00:00+01:00 (default: now)")
        parser.add_argument("--json", action="store_true", help="every count, for machines")

    def about(self, study: Study, **options: Any) -> None:
        cutoff = _moment(options["as_of"]) if options["as_of"] else clock.now()
        counts = compliance(study, cutoff=cutoff, site=options["site"])
        people = participation(study, cutoff=cutoff, site=options["site"])
        if options["json"]:
            self.stdout.write(json.dumps(as_json(counts, people), indent=2, ensure_ascii=False))
            return
        where = f", site {options['site']}" if options["site"] else ""
        self.stdout.write(f"{study.title}{where}, as known at {cutoff:%Y-%m-%d %H:%M} UTC\n")
        for line in _overall(counts.overall):
            self.stdout.write(in_lines(line, then="  "))
        self.stdout.write("")
        for line in _table(options["by"], getattr(counts, options["by"])):
            self.stdout.write(line)
        self.stdout.write("")
        for line in _people(people):
            self.stdout.write(in_lines(line, then="  "))


def as_json(counts: Compliance, people: Participation) -> dict[str, Any]:
    """Everything that was counted; what each denominator is, in words."""
    return {
        "as_of": counts.cutoff.isoformat(),
        "site": counts.site or None,
        "denominators": DENOMINATORS,
        "overall": asdict(counts.overall),
        **{f"by_{name}": [_cell(name, key, each) for key, each in getattr(counts, name).items()] for name in GROUPINGS},
        "acceptance": {
            **_share(people.acceptance.overall),
            "by_site": {site: _share(each) for site, each in people.acceptance.site.items()},
            "enrolled_by_an_open_code": people.acceptance.by_open_code,
        },
        "attrition": {
            "withdrew": _share(people.attrition.withdrew),
            "stopped": _share(people.attrition.stopped),
            "by_day": [{"day": day, "withdrew": a, "stopped": b} for day, (a, b) in people.attrition.day.items()],
            "by_wave": [{"wave": wave, "withdrew": a, "stopped": b} for wave, (a, b) in people.attrition.wave.items()],
        },
        "retention": [{"day": day, **_share(each)} for day, each in people.retention.items()],
    }


def _cell(name: str, key: Any, counts: Counts) -> dict[str, Any]:
    named = {"questionnaire": key[0], "rule": key[1]} if name == "rule" else {name: key}
    return {**named, **asdict(counts)}


def _share(share: Share) -> dict[str, Any]:
    return {"count": share.count, "of": share.of, "words": share.words}


def _overall(counts: Counts) -> Iterable[str]:
    yield from (
        counts.rate("completed", "scheduled").words,
        counts.rate("completed", "sent").words,
        f"{counts.rate('completed', 'delivered').words} (of {counts.unknown:,} nobody knows, {counts.undelivered:,} were not)",
        counts.rate("started", "scheduled").words,
        counts.rate("in_time", "scheduled").words,
    )


def _table(name: str, cells: Mapping[Any, Counts]) -> Iterable[str]:
    width = max([len(name), *(len(_label(name, key)) for key in cells)])
    if not cells:
        yield "Nothing was due yet."
        return
    yield f"Prompts {DENOMINATORS['scheduled']};\nthe bar is completed of scheduled."
    yield f"{name:<{width}}  scheduled   sent  delivered  unknown  started  completed  in time"
    for key, each in cells.items():
        share = each.rate("completed", "scheduled")
        yield (
            f"{_label(name, key):<{width}}  {each.scheduled:>9,} {each.sent:>6,} {each.delivered:>10,} {each.unknown:>8,} "
            f"{each.started:>8,} {each.completed:>10,} {each.in_time:>8,}  {_bar(share.value)}"
        ).rstrip()


def _label(name: str, key: Any) -> str:
    match name:
        case "weekday":
            return WEEKDAYS[key - 1]
        case "hour":
            return f"{key:02d}:00"
        case "rule":
            return " ".join(key)
        case _:
            return str(key) or "none"


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    eighths = round(share * BAR * 8)
    return (BLOCKS[-1] * (eighths // 8) + BLOCKS[eighths % 8]).rstrip()


def _people(people: Participation) -> Iterable[str]:
    yield "Acceptance, attrition and retention are of people, not of prompts:"
    yield people.acceptance.overall.words
    if len(people.acceptance.site) > 1:
        yield from (f"  site {site or 'none'}: {each.words}" for site, each in people.acceptance.site.items())
    if people.acceptance.by_open_code:
        yield f"  beside them {people.acceptance.by_open_code:,} enrolled by a code that anybody could use"
    yield people.attrition.withdrew.words
    yield people.attrition.stopped.words
    if people.retention:
        last = max(people.retention)
        for day in sorted({1, (last + 1) // 2, last}):
            yield people.retention[day].words


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise CommandError(f"--as-of {text!r} is no time with an offset; write one like 2026-03-15T02:00:00+01:00.")
    return moment

"""From files and what is said about them to a plan: the same road for a dry run and an import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ema_server.common.csv_rows import CsvFault
from ema_server.common.zones import is_zone
from ema_server.imports import mpath
from ema_server.imports.findings import Findings
from ema_server.imports.judging import InvalidSurveyFile, Plan, decide
from ema_server.imports.learning import learn, slug
from ema_server.imports.maps import InvalidMap, read_map
from ema_server.imports.tables import Table
from ema_server.imports.times import Clock
from ema_server.surveys.faults import faults

FORMATS = ("long", "mpath")
NO_PLACE = "No row of the file has a place: {}"


@dataclass(frozen=True)
class Reading:
    """What whoever imports says."""

    files: Sequence[Path]
    format: str = "long"
    zone: str | None = None
    map: Any = field(default_factory=dict)
    surveys: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    questionnaire: str = "momentary"
    open_minutes: float | None = None
    first_day: date = date(2001, 1, 1)
    encoding: str | None = None
    delimiter: str | None = None


def first_reading(reading: Reading, findings: Findings, *, each: Callable[[int], None] = lambda rows: None) -> Plan:
    """Read all files once and decide what every column is."""
    for path in reading.files:
        if not path.is_file():
            raise CsvFault(f"{path} is no file.")
    for name, document in reading.surveys.items():
        found = faults(document)
        if found:
            raise InvalidSurveyFile("\n".join(f"--survey {name}: {fault}" for fault in found))
    table, document, notes = _opened(reading)
    if reading.open_minutes is not None:
        document = {"open_minutes": {"value": reading.open_minutes}, **document}
    mapping = read_map(document, table.header)
    zone = reading.zone or mapping.when.zone
    if zone is None:
        raise InvalidMap(
            "--zone: say in which time zone the study was, like --zone Europe/Amsterdam; times without an offset are read by it, and "
            "days begin by it."
        )
    if not is_zone(zone):
        raise InvalidMap(f"--zone: {zone!r} is no time zone; write one like Europe/Amsterdam.")
    clock = Clock(mapping.when.style, zone, mapping.zones)
    aside = mapping.used | set(mapping.person_table or ())
    for item in (mapping.items or {}).values():
        aside = (aside | {item.label_from or ""}) - {item.column, item.prefer or ""}
    candidates = [place for place, name in enumerate(table.header) if name not in aside]  # unclaimed ones are named
    kept = [place for place, name in enumerate(table.header) if name in set(mapping.person_table or ())]
    learned = learn(
        table, mapping, clock, findings,
        form=slug(reading.questionnaire) or "momentary",
        candidates=candidates,
        steady=kept if mapping.person_table is not None else candidates if mapping.items is None else [],
        first_day=reading.first_day,
        each=each,
    )  # fmt: skip
    if not any(learned.placed):
        told = "; ".join(f"{finding.column}: {finding.places[0]}" for finding in findings)
        raise CsvFault(NO_PLACE.format(told or "there are none."))
    strange = sorted(set(reading.surveys) - set(learned.forms))
    if strange:
        raise InvalidSurveyFile(
            f"--survey {strange[0]}: the file has no rows of this questionnaire; it has {', '.join(learned.forms)}. Say "
            "--survey NAME=FILE."
        )
    plan = decide(table, mapping, clock, learned, reading.surveys, findings)
    plan.notes += notes
    return plan


def _opened(reading: Reading) -> tuple[Table, dict[str, Any], list[str]]:
    """The table, the map's document, and what has to be said about the files."""
    if not isinstance(reading.map, Mapping):
        raise InvalidMap('map: a JSON object is needed, like {"person": "id", "scheduled_at": "time"}.')
    if reading.format == "long":
        return Table(reading.files, encoding=reading.encoding, delimiter=reading.delimiter), dict(reading.map), []
    metas = [path for path in reading.files if mpath.is_meta(path)]
    answers = [path for path in reading.files if path not in metas]
    if len(metas) != 1 or not answers:
        raise CsvFault(
            f"m-Path's export is two files, basic.csv and its meta data (columnName;fullQuestion;…); among {', '.join(p.name for p in reading.files)} "
            f"{len(metas)} are meta data."
        )
    table = Table(answers, encoding=reading.encoding, delimiter=reading.delimiter or ";", short_rows=True)
    document, notes = mpath.mapped(table.header, mpath.read_meta(metas[0]), file=answers[0])
    return table, {**document, **reading.map}, notes

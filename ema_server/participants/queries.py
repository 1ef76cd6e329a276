"""Reads of participants and of what was imported about them. Pages ask from the member: a coordinator of one site sees
its people alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import Count, Max, Q, QuerySet
from django.db.models.functions import Least

from ema_server.accounts.models import User
from ema_server.common.errors import DomainError
from ema_server.participants import person_table
from ema_server.participants.models import (
    PLACE,
    Consent,
    Device,
    DeviceReport,
    EnrolmentCode,
    Participant,
    PersonTable,
    Series,
)
from ema_server.participants.person_table import Changes, Match, ReadTable, Rows
from ema_server.studies.models import ConsentText, Membership, Study
from ema_server.studies.queries import consent_texts
from ema_server.surveys import columns as survey_columns

SHOWN_CODES = 50  # of those that are over
_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
_TIMES, _NUMBERS = np.dtype([("size", ">i4"), ("of", ">i8")]), np.dtype([("size", ">i4"), ("of", ">f8")])
_ARRAY_HEAD = 20  # bytes before the elements of a one-dimensional array as PostgreSQL sends it


class NoSuchSeries(DomainError):
    code = "no_such_series"


def participants_for(member: Membership) -> QuerySet[Participant]:
    """The people whom this member may see, with their number of phones and the newest of them."""
    found = Participant.objects.filter(study=member.study_id)
    if member.site:
        found = found.filter(site=member.site)
    return found.annotate(phones=Count("devices"), newest_phone=Max("devices__created_at")).order_by("pseudonym")


def participant_for(member: Membership, pk: int) -> Participant | None:
    """One of them; None for anybody else, of another site or of nowhere."""
    return participants_for(member).filter(pk=pk).first()


def codes_for(member: Membership) -> QuerySet[EnrolmentCode]:
    """The codes that researchers made, newest first: of one site's people and for that site, where the member has one."""
    found = EnrolmentCode.objects.filter(study=member.study_id).exclude(made_by__startswith="device:")
    if member.site:
        found = found.filter(Q(participant__site=member.site) | Q(participant__isnull=True, site=member.site))
    return found.select_related("participant").order_by("-pk")


def phones_of(participant: Participant) -> list[tuple[Device, DeviceReport | None]]:
    """Their phones, newest first, each with the newest that it said of itself."""
    phones = Device.objects.filter(participant=participant).order_by("-created_at", "-pk")
    return [(phone, newest_report(phone)) for phone in phones]


def newest_report(device: Device) -> DeviceReport | None:
    """By the phone's clock, but never later than it arrived: a clock that is ahead does not stay the newest."""
    reports = DeviceReport.objects.filter(device=device)
    return reports.order_by(Least("phone_at", "received_at").desc(), "-pk").first()


def current_person_table(study: Study, cutoff: datetime | None = None) -> PersonTable | None:
    """The version that a night reads; with a cutoff, the one that a night read then."""
    tables = PersonTable.objects.filter(study=study).order_by("-number")
    return (tables.filter(imported_at__lte=cutoff) if cutoff else tables).first()


def taken_names(study: Study) -> dict[str, str]:
    """The names that a person table's columns may not have, since the data have them, with what they are."""
    taken = dict.fromkeys(survey_columns.RESERVED, "a column of their own")
    for name, field in PLACE.items():  # as long as nobody is in an arm, a column may say it
        if not Participant.objects.filter(study=study).exclude(**{field: ""}).exists():
            del taken[name]
    for version in study.survey_versions.all():
        for column in survey_columns.columns(version.survey):
            taken[column.name] = f"an item of the questionnaire {version.questionnaire}"
    return taken


@dataclass(frozen=True, slots=True)
class Preview:
    """What importing a table would store, and what it would leave."""

    table: ReadTable
    match: Match
    columns: list[dict[str, Any]]
    rows: Rows
    changes: Changes | None

    def report(self) -> dict[str, Any]:
        """What is kept of it with the version: counts and row numbers, nobody's pseudonym."""
        return {
            "read": self.table.described,
            "rows": len(self.table.row_numbers),
            "matched": len(self.match.matched),
            "unknown": len(self.match.unknown),
            "unknown_rows": [each.row for each in self.match.unknown[:100]],
            "without_row": len(self.match.without_row),
            "missing": {name: sum(words.values()) for name, words in self.table.missing.items()},
            "left_out": dict(self.table.left_out),
            "changes": self.changes.in_words() if self.changes else "",
        }


def preview_person_table(study: Study, table: ReadTable) -> Preview:
    """Match the rows to the study's people and compare them with the version that is there. Nothing is stored."""
    people = Participant.objects.filter(study=study).exclude(state=Participant.State.ERASED)
    match = person_table.matched(table, list(people.values_list("pseudonym", flat=True)))
    columns, rows = person_table.of_participants(table, match)
    newest = current_person_table(study)
    changes = None
    if newest is not None:
        changes = person_table.changes(newest.number, (_columns(newest), newest.rows), (columns, rows))
    return Preview(table, match, columns, rows, changes)


def _columns(table: PersonTable) -> list[dict[str, Any]]:
    return table.columns or [each.as_json() for each in person_table.from_rows(table.rows).columns]


def names_of(actors: Collection[str]) -> dict[str, str]:
    """Who is behind the trail's "user:12"; the server and whoever is gone keep that name."""
    numbers = {int(each.removeprefix("user:")) for each in actors if each.removeprefix("user:").isdecimal()}
    names = {f"user:{user.pk}": str(user) for user in User.objects.filter(pk__in=numbers)}
    return {each: names.get(each, each) for each in actors}


def current_series(study: Study, name: str, cutoff: datetime | None = None) -> Series | None:
    found = Series.objects.filter(study=study, name=name).order_by("-number")
    return (found.filter(imported_at__lte=cutoff) if cutoff else found).first()


def series_values(
    study: Study, name: str, column: str, *, people: Collection[str], cutoff: datetime
) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Of each of these people, the moments (microseconds since 1970 UTC, in order) and the values of one column, as the
    newest version of the series at `cutoff` holds them. Somebody without measurements is not there."""
    series = current_series(study, name, cutoff)
    if series is None:
        known = sorted(set(Series.objects.filter(study=study, imported_at__lte=cutoff).values_list("name", flat=True)))
        there = f"there are {', '.join(known)}" if known else "none was imported"
        raise NoSuchSeries(f"there is no series {name!r}; {there}.")
    columns = [each["name"] for each in series.columns]
    if column not in columns:
        raise NoSuchSeries(f"the series {name!r} has no column {column!r}; it has {', '.join(columns)}.")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.pseudonym, array_send(v.at), array_send(v.value) FROM participants_seriesvalues v "
            'JOIN participants_participant p ON p.id = v.participant_id WHERE v.series_id = %s AND v."column" = %s '
            "AND p.pseudonym = ANY(%s)",
            [series.pk, column, list(people)],
        )
        return {
            pseudonym: (_sent(at, _TIMES).astype(np.int64) + _POSTGRES_EPOCH, _sent(value, _NUMBERS).astype(float))
            for pseudonym, at, value in cursor.fetchall()
        }


def _sent(array: bytes | memoryview, of: np.dtype[Any]) -> np.ndarray:
    found: np.ndarray = np.frombuffer(array, of, offset=_ARRAY_HEAD)["of"]
    return found


@dataclass(frozen=True, slots=True)
class ConsentAsked:
    """The study's current consent text, as one person stands to it."""

    text: ConsentText
    given: bool
    anew: bool  # they agreed to an earlier one, or to none here, and must be asked again


def consent_asked_of(participant: Participant) -> ConsentAsked | None:
    """None where the study has no consent text."""
    texts = list(consent_texts(participant.study))
    if not texts:
        return None
    agreed = set(Consent.objects.filter(participant=participant).values_list("digest", flat=True))
    newer = []
    for text in texts:
        if text.digest in agreed:
            break
        newer.append(text)
    return ConsentAsked(texts[0], given=not newer, anew=any(text.must_consent_anew for text in newer))


def consented_versions(study: Study) -> dict[int, int]:
    """The newest version of the study's texts that each person agreed to, by their row; 0 for none of them."""
    numbers = {text.digest: text.number for text in consent_texts(study)}
    found: dict[int, int] = {}
    for person, digest in Consent.objects.filter(participant__study=study).values_list("participant_id", "digest"):
        found[person] = max(found.get(person, 0), numbers.get(digest, 0))
    return found

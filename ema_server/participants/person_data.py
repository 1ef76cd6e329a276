"""What is known of people from files: person tables and series of measurements, stored as new versions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from django.db import connection, transaction

from ema_server.common.canonical import canonical_json, digest
from ema_server.common.csv_rows import shortened
from ema_server.common.errors import DomainError
from ema_server.ledger import audit
from ema_server.participants import person_table, queries
from ema_server.participants.models import Participant, PersonTable, Series
from ema_server.participants.person_table import ReadTable
from ema_server.participants.series import PersonSeries, ReadSeries
from ema_server.participants.services import PersonErased
from ema_server.studies import states
from ema_server.studies.models import Study
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import server_key

SERIES_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class NobodyMatches(DomainError):
    code = "nobody_matches"
    status = 400


class InvalidSeries(DomainError):
    code = "invalid_series"
    status = 400


@transaction.atomic
def import_person_table(
    *,
    study: Study,
    rows: Mapping[str, Mapping[str, Any]] | None = None,
    table: ReadTable | None = None,
    source: str = "",
    actor: str = "server",
    reason: str = "",
) -> PersonTable:
    """A new version of the baseline covariates, by pseudonym: a table as it was read, or rows of typed values. Only
    people who take part have one; the same content again is the version that is there. `source` is the file's SHA-256."""
    _hold(study)
    table = table or person_table.from_rows(rows or {})
    person_table.refuse_taken((each.name for each in table.columns), queries.taken_names(study))
    _refuse_erased(study, table.row_numbers)
    preview = queries.preview_person_table(study, table)
    if not preview.rows:
        raise NobodyMatches(_nobody(table.person, list(table.row_numbers)))
    newest = queries.current_person_table(study)
    if newest is not None and (newest.rows, newest.columns) == (preview.rows, preview.columns):
        return newest
    stored = PersonTable.objects.create(
        study=study,
        number=newest.number + 1 if newest else 1,
        columns=preview.columns,
        rows=preview.rows,
        digest=digest(preview.rows),
        source_digest=_keyed(source.encode()) if source else "",
        report=preview.report(),
        imported_by=actor,
    )
    audit.record(
        action="person_table.imported",
        actor=actor,
        study_id=study.pk,
        about=f"person_table:{stored.number}",
        changes={"people": len(preview.rows), "digest": _keyed(canonical_json(preview.rows))},
        reason=reason,
    )
    return stored


@transaction.atomic
def import_series(*, study: Study, name: str, series: ReadSeries, source: str, actor: str = "server") -> Series:
    """A new version of a series of measurements; nights read the newest. `source` is the file's SHA-256."""
    _hold(study)
    if not SERIES_NAME.fullmatch(name):
        raise InvalidSeries(f"name: {name!r} is no series' name; lower-case letters, digits and _ are accepted.")
    _refuse_erased(study, series.people)
    people = dict(Participant.objects.filter(study=study, pseudonym__in=series.people).values_list("pseudonym", "pk"))
    if not people:
        raise NobodyMatches(_nobody(series.person, list(series.unknown)))
    newest = queries.current_series(study, name)
    stored = Series.objects.create(
        study=study,
        name=name,
        number=newest.number + 1 if newest else 1,
        columns=list(series.columns),
        source_digest=_keyed(source.encode()),
        report=series.report(),
        imported_by=actor,
    )
    with connection.cursor() as cursor:
        for pseudonym, pk in people.items():
            cursor.executemany(_SERIES_ROW, list(_series_rows(stored, pk, series.people[pseudonym])))
    audit.record(
        action="series.imported",
        actor=actor,
        study_id=study.pk,
        about=f"series:{stored.pk}",
        changes={"name": name, "number": stored.number, "people": len(people)},
    )
    return stored


_SERIES_ROW = """
INSERT INTO participants_seriesvalues (series_id, participant_id, "column", at, value) VALUES (%s, %s, %s, ARRAY(
    SELECT timestamptz 'epoch' + given.at * interval '1 microsecond'
    FROM unnest(%s::bigint[]) WITH ORDINALITY AS given (at, place) ORDER BY place
), %s::float8[])"""


def _series_rows(series: Series, participant: int, found: PersonSeries) -> Iterator[tuple[int, int, str, str, str]]:
    """Each column with what was measured; arrays as PostgreSQL reads them from text."""
    for column, values in zip(series.columns, found.values, strict=True):
        measured = ~np.isnan(values)
        if measured.any():
            at = ",".join(map(str, found.at[measured].tolist()))
            value = ",".join(map(repr, values[measured].tolist()))
            yield series.pk, participant, column["name"], f"{{{at}}}", f"{{{value}}}"


def _hold(study: Study) -> None:
    """Nobody locks the study while something is imported into it, and no second import comes between."""
    states.require(Study.objects.select_for_update(no_key=True).get(pk=study.pk).state, "person_data")


def _refuse_erased(study: Study, rows: Collection[str]) -> None:
    """Nobody who was erased comes back by a file; the others' rows are held until theirs are stored."""
    people = Participant.objects.select_for_update(no_key=True).filter(study=study, pseudonym__in=list(rows))
    erased = [person.pseudonym for person in people.order_by("pk") if person.state == Participant.State.ERASED]
    if erased:
        raise PersonErased(f"rows: {', '.join(erased)} was erased; leave them out. Nothing was imported.")


def _nobody(column: str, pseudonyms: list[str]) -> str:
    seen = ", ".join(repr(shortened(each)) for each in pseudonyms[:3])
    return f"column {column!r}: nobody of its {len(pseudonyms)} people takes part (it begins with {seen}). Nothing was imported."


def _keyed(content: bytes) -> str:
    """Keyed, since it is kept for ever: who knows the others' rows would find an erased person's by trying."""
    return keyed_digest(content, key=server_key("person tables"))

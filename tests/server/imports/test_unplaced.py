"""What is wrong with a file or a map is told with row and column, and what would be accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from ema_server.common.csv_rows import CsvFault
from ema_server.imports.maps import InvalidMap, read_map
from ema_server.studies.models import Study
from tests.server.imports.files import LONG, mapped, run, written
from tests.world import researcher

pytestmark = pytest.mark.django_db

HEAD = "person,scheduled_at,stress\n"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("P1,2024-03-04 10:00,4\np 1,2024-03-04 12:00,5\n", "row 3: 'p 1' (1 rows) differs from 'P1' (row 2) in case, spaces or dashes"),
        (",2024-03-04 10:00,4\nA,2024-03-04 10:00,4\n", "row 2: '' is empty: whose row is this?"),
        ("a@b.nl,2024-03-04 10:00,4\nA,2024-03-04 10:00,4\n", "row 2: 'a@b.nl' looks like an address"),
        ("A\u200d,2024-03-04 10:00,4\nA,2024-03-04 10:00,4\n", "holds a character that nobody sees"),
        ("\u202eA,2024-03-04 10:00,4\nA,2024-03-04 10:00,4\n", "holds a character that nobody sees"),
        ("\uff21,2024-03-04 10:00,4\nA,2024-03-04 10:00,4\n", "differs from '\uff21' (row 2) in case, spaces or dashes"),
        (f"{'x' * 41},2024-03-04 10:00,4\nA,2024-03-04 10:00,4\n", "is longer than 40 characters."),
        ("A,04/03/2024 10:00,4\nA,2024-03-04 12:00,5\n", "row 2: '04/03/2024 10:00' is not written like 2024-03-09 14:05; for day first"),
        ("A,2024-03-04,4\nA,2024-03-04 12:00,5\n", "row 2: '2024-03-04' is a day without a time"),
        ("A,1709543220,4\nA,2024-03-04 12:00,5\n", 'for seconds since 1970 say "style": "unix"'),
        ("A,soon,4\nA,2024-03-04 12:00,5\n", "row 2: 'soon' is no time; 2026-03-09 14:05 is accepted"),
        ("A,,4\nA,2024-03-04 12:00,5\n", "row 2: '' is empty: when was this prompt planned?"),
        ("A,1970-01-01T01:00:00+01:00,4\nA,2024-03-04 12:00,5\n", "is no time at which a phone could have asked."),
        ("A,2024-03-31 02:30,4\nA,2024-03-31 03:30,5\n", "never was in Europe/Amsterdam: the clocks were put forward over it."),
        ("A,2024-03-04 10:00,4\nA,2024-03-04 10:00,5\n", "row 3: 'A' speaks of the same time as row 2"),
        ('A,2024-03-04 10:00,"4,5"\nA,2024-03-04 12:00,5\nA,2024-03-04 13:00,3\nA,2024-03-04 14:00,3\nA,2024-03-04 15:00,1\n', "row 2: '4,5' looks like a decimal comma"),
        ("A,2024-03-04 10:00,-\nA,2024-03-04 12:00,5\nA,2024-03-04 13:00,3\nA,2024-03-04 14:00,3\nA,2024-03-04 15:00,1\n", "row 2: '-' is no number; if it stands for a missing answer"),
    ],
)  # fmt: skip
def test_each_fault_names_its_row_and_what_is_accepted(tmp_path: Path, rows: str, told: str) -> None:
    researcher()
    file = written(tmp_path, HEAD + rows)
    assert told.replace("2024-03-09", "2026-03-09") in " ".join(run(file, dry_run=True).split())
    with pytest.raises(CommandError, match="Nothing was stored"):
        run(file)
    assert Study.objects.count() == 0


@pytest.mark.parametrize(("column", "most"), [("wave", 500), ("questionnaire", 200)])
def test_a_column_that_is_none_of_waves_or_questionnaires_is_asked_about(
    tmp_path: Path, column: str, most: int
) -> None:
    rows = "".join(f"A,2024-03-04 {n // 60:02d}:{n % 60:02d},4,x{n}\n" for n in range(most + 1))
    with pytest.raises(CommandError, match=f"'x{most}' is {column} {most + 1}; at most {most} are possible"):
        run(written(tmp_path, HEAD.strip() + f",{column}\n" + rows), dry_run=True)


def test_dates_in_three_styles_are_all_named(tmp_path: Path) -> None:
    file = written(tmp_path, f"{HEAD}A,2024-03-04 10:00,4\nA,05/03/2024 10:00,4\nA,6.3.2024 10:00,4\n")
    said = run(file, dry_run=True)
    assert "times in 'scheduled_at', 2 times" in said
    assert "row 3" in said
    assert "row 4" in said
    day_first = mapped(tmp_path, {"scheduled_at": {"column": "scheduled_at", "style": "dmy"}})
    assert "Everything has its place." in run(file, dry_run=True, map=day_first)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "The file is empty"),
        (b"person,scheduled_at,stress\n", "a header and no rows"),
        (b"person;scheduled_at;stress\nA;2024-03-04 10:00;caf\xe9\n", "is not UTF-8; say --encoding cp1252"),
        ("person,scheduled_at,x\nA,2024-03-04 10:00,é\n".encode() + b"A,2024-03-04 11:00,\xe9\n", "the file mixes two encodings"),
        (b"person,scheduled_at,person\nA,2024-03-04 10:00,1\n", "have the same name"),
        (b"person,scheduled_at,x\nA,2024-03-04 10:00\n", "row 2: the row has 2 cells, the header 3"),
        (b"person,scheduled_at,x\nA,2024-03-04 10:00," + b"y" * 1_000_001 + b"\n", "longer than 1,000,000 characters"),
        (b"who,when,x\nA,2024-03-04 10:00,1\n", "the file has no column 'person'; it has who, when, x."),
        (b"person,scheduled_at,x\nA,never,1\n", "No row of the file has a place: scheduled_at: row 2: 'never' is no time"),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused_whole(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(content)
    with pytest.raises(CommandError) as refused:
        run(file, dry_run=True)
    assert told in str(refused.value)


def test_a_cell_of_a_megabyte_is_a_text_that_is_too_long(tmp_path: Path) -> None:
    file = written(tmp_path, f"{HEAD}A,2024-03-04 10:00,{'word ' * 190_000}\nA,2024-03-04 12:00,fine\n")
    said = run(file, dry_run=True)
    assert "row 2: 'word word" in said
    assert "must be a text of at most 10000 characters." in said
    assert len(said) < 3_000


def test_a_status_that_is_not_known_is_asked_about(tmp_path: Path) -> None:
    file = written(tmp_path, LONG.replace("cancelled", "snoozed"))
    assert "row 5: 'snoozed' is no status; say in the map what it means" in run(file, dry_run=True)
    words = {
        "status": {"column": "status", "words": {"answered": "answered", "expired": "expired", "snoozed": "cancelled"}}
    }
    assert "1  cancelled, begun" in run(file, dry_run=True, map=mapped(tmp_path, words))


def test_what_is_left_out_is_said_and_the_rest_imported(tmp_path: Path) -> None:
    researcher()
    file = written(tmp_path, f"{HEAD}A,2024-03-04 10:00,4\nA,never,5\nB,2024-03-04 10:00,3\nB,2024-03-04 10:00,2\n")
    with pytest.raises(CommandError, match="--leave-out 'dates' is none of columns, persons, times"):
        run(file, leave_out="dates")
    said = run(file, leave_out="times,duplicates")
    assert "2  answered" in said
    assert "2  without a place" in said
    assert Study.objects.get().imports.get().report["left_out"] == 2


def test_names_that_differ_in_case_can_be_said_to_be_one_person(tmp_path: Path) -> None:
    researcher()
    file = written(tmp_path, f"{HEAD}P1,2024-03-04 10:00,4\np1 ,2024-03-04 12:00,5\n")
    words = mapped(tmp_path, {"person": {"column": "person", "words": {"p1": "P1"}}})
    run(file, map=words)
    assert [person.pseudonym for person in Study.objects.get().participants.all()] == ["P1"]
    assert Study.objects.get().prompts.count() == 2


@pytest.mark.parametrize(
    ("one", "other"), [("q", "../q"), ("Morning", "morning"), ("", "Momentary"), (f"{'x' * 32}1", f"{'x' * 32}2")]
)
def test_questionnaires_whose_short_names_are_alike_are_asked_about(tmp_path: Path, one: str, other: str) -> None:
    researcher()
    rows = f"A,2024-03-04 10:00,4,{one}\nA,2024-03-04 12:00,5,{other}\nA,2024-03-04 14:00,5,{other}\n"
    file = written(tmp_path, HEAD.strip() + ",questionnaire\n" + rows)
    told = run(file, dry_run=True)
    assert f"row 3: {other!r} would be the questionnaire" in told
    assert f"as {one or 'momentary'!r} is. One questionnaire? Then say so in the map" in told
    with pytest.raises(CommandError, match="Nothing was stored"):
        run(file)
    for name, forms in ((one or "momentary", 1), ("another", 2)):
        words = {"questionnaire": {"column": "questionnaire", "words": {other: name}}}
        run(file, slug=name[:20].lower(), map=mapped(tmp_path, words))
        assert Study.objects.get(slug=name[:20].lower()).survey_versions.count() == forms


def test_a_person_whose_rows_have_no_place_is_not_made(tmp_path: Path) -> None:
    researcher()
    file = written(tmp_path, f"{HEAD}A,2024-03-04 10:00,4\nB,never,5\n")
    run(file, leave_out="times")
    assert [person.pseudonym for person in Study.objects.get().participants.all()] == ["A"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "map: a JSON object is needed"),
        ({"persn": "id"}, "persn: is no part of a map; there are person, day"),
        ({"person": "id"}, "person: the file has no column 'id'; it has person, scheduled_at, stress."),
        ({"person": "persons"}, "did you mean 'person'?"),
        ({"person": 5}, "person: write a column's name"),
        ({"scheduled_at": {"column": "scheduled_at", "style": "us"}}, "scheduled_at.style: 'us' is none of iso, dmy, mdy, unix, unix_local."),
        ({"scheduled_at": {"column": "scheduled_at", "zone": "Amsterdam"}}, "scheduled_at.zone: 'Amsterdam' is no time zone"),
        ({"scheduled_at": {"columns": ["scheduled_at"]}}, "scheduled_at: write a column's name"),
        ({"status": {"column": "stress", "words": {"a": "gone"}}}, "status.words['a']: 'gone' is none of answered, expired"),
        ({"practice": {"column": "stress", "words": {"a": "x"}}}, "practice.words['a']: 'x' is neither true nor false."),
        ({"open_minutes": {"value": -1}}, "open_minutes.value: -1 is no number of minutes above 0."),
        ({"items": ["stress"]}, "items: an object from an item's name to its column is needed"),
        ({"items": {"s": {"column": "stress", "colour": 1}}}, "items.s.colour: is unknown"),
        ({"items": {"s": "sterss"}}, "items.s.column: the file has no column 'sterss'; did you mean 'stress'?"),
        ({"zones": {"+01:00": "CET+"}}, "zones['+01:00']: 'CET+' is no time zone"),
        ({"decimal": ";"}, "decimal: ';' is none of '.', ','."),
        ({"missing": "NA"}, "missing: a list of texts is needed."),
        ({"repeats": "drop"}, "repeats: 'drop' is none of 'refuse', 'reissued'."),
    ],
)  # fmt: skip
def test_each_fault_of_a_map_is_named(document: Any, told: str) -> None:
    with pytest.raises(InvalidMap) as refused:
        read_map(document, ["person", "scheduled_at", "stress"])
    assert told in refused.value.detail


def test_files_of_one_import_have_the_same_columns(tmp_path: Path) -> None:
    researcher()
    first = written(tmp_path, f"{HEAD}A,2024-03-04 10:00,4\n", "a.csv")
    other = written(tmp_path, "person,scheduled_at,tired\nB,2024-03-04 10:00,4\n", "b.csv")
    with pytest.raises(
        CommandError, match=r"b.csv has the column 'tired'; files of one import have the same columns as a.csv"
    ):
        run(first, other, dry_run=True)
    second = written(tmp_path, f"{HEAD}B,2024-03-04 10:00,4\nB,never,4\n", "b.csv")
    assert "b.csv row 3: 'never' is no time" in run(first, second, dry_run=True)
    with pytest.raises(CommandError, match=r"nowhere.csv is no file"):
        run(tmp_path / "nowhere.csv")
    assert CsvFault.status == 400


def test_a_column_of_decimal_commas_is_asked_about_and_read_when_said(tmp_path: Path) -> None:
    file = written(tmp_path, 'person,scheduled_at,stress\nA,2024-03-04 10:00,"1,5"\nA,2024-03-04 12:00,"2,25"\n')
    assert 'row 2: \'1,5\' looks like a decimal comma; say "decimal": "," in the map' in run(file, dry_run=True)
    said = run(file, dry_run=True, map=mapped(tmp_path, {"decimal": ","}))
    assert "decimals, 1.5 to 2.25" in said


def test_what_is_said_on_the_command_line_is_judged_too(tmp_path: Path) -> None:
    file = written(tmp_path, f"{HEAD}A,2024-03-04 10:00,4\n")
    survey = written(tmp_path, '{"title": "x", "items": [{"name": "stress", "type": "likert", "text": "?"}]}', "s.json")
    for told, options in (
        ("--slug 'my study': a short name has", {"slug": "my study"}),
        ("--title: at most 200 characters", {"title": "t" * 201}),
        ("--zone: say in which time zone the study was", {"zone": None}),
        ("--zone: 'Amsterdam' is no time zone", {"zone": "Amsterdam"}),
        ("is no JSON", {"map": file}),
        ("items[0] (stress).range", {"survey": survey}),
    ):
        with pytest.raises(CommandError) as refused:
            run(file, dry_run=True, **options)
        assert told in str(refused.value)
    survey.write_text('{"title": "x", "items": [{"name": "stress", "type": "likert", "range": [1, 5], "text": "?"}]}')
    with pytest.raises(CommandError, match="no rows of this questionnaire; it has momentary"):
        run(file, dry_run=True, survey=f"evening={survey}")


def test_a_column_that_the_map_leaves_unsaid_is_named_and_one_without_a_cell_is_noted(tmp_path: Path) -> None:
    document = mapped(tmp_path, {"items": {"stress": "stress"}})
    told = run(written(tmp_path, LONG.replace(",yes,", ",,").replace(",no,", ",,")), map=document, dry_run=True)
    assert "columns in 'note', once (stops the import)" in told
    assert "is used for nothing; name it in the map" in told
    assert "Empty columns: alone." in told


def test_yes_and_no_are_read_in_the_languages_of_a_person_table(tmp_path: Path) -> None:
    told = run(written(tmp_path, LONG.replace(",yes,", ",Ja,").replace(",no,", ",nein,")), dry_run=True)
    assert "ja, nein" in told
    assert "yes or no" in told

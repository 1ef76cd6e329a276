"""CSV files as people have them: read, or refused with the row and the column."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ema_server.common.csv_rows import CsvFault, Dates, Numbers, Order, one_decimal, open_csv


def read(content: bytes, **said: str) -> list[tuple[int, list[str]]]:
    return list(open_csv(io.BytesIO(content), **said))


def fault(content: bytes, **said: str) -> str:
    with pytest.raises(CsvFault) as caught:
        read(content, **said)
    assert caught.value.status == 400
    return caught.value.detail


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_byte_order_marks_and_delimiters_are_found(encoding: str, mark: str) -> None:
    rows = open_csv(io.BytesIO(f"id{mark}name\r\n1{mark}Zoë\r\n".encode(encoding)))
    assert rows.header == ["id", "name"]
    assert rows.delimiter == mark
    assert list(rows) == list(rows) == [(2, ["1", "Zoë"])]  # may be read again


def test_rows_count_as_a_spreadsheet_shows_them() -> None:
    assert read(b'id,note\n1,"two\nlines"\n\n2,x\n,\n') == [(2, ["1", "two\nlines"]), (4, ["2", "x"])]


def test_a_hint_for_excel_is_no_row() -> None:
    assert read(b"sep=;\nid;a\n1;2\n") == [(2, ["1", "2"])]


def test_a_given_file_stays_open_and_a_path_is_closed(tmp_path: Path) -> None:
    file = io.BytesIO(b"id,a\n1,2\n")
    list(open_csv(file))
    assert not file.closed
    path = tmp_path / "table.csv"
    path.write_bytes(b"id,a\n1,2\n")
    with open_csv(path) as rows:
        assert list(rows) == [(2, ["1", "2"])]
    assert rows._file.closed


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "The file is empty"),
        (b"\r\n \n", "The file is empty"),
        (b"id,a\n", "row 2: the file has a header and no rows"),
        (b"id,a\n1,2\n3\n", "row 3: the row has 1 cells, the header 2; it is '3'"),
        (b"id,a\n1,2,5\n", "row 2: the row has 3 cells, the header 2; the last is '5'"),
        (b"id,,a\n1,2,3\n", "row 1: the name of column 2 of 3 is empty"),
        (b"id,a,id \n1,2,3\n", "row 1, column 'id': columns 1 and 3 have the same name"),
        (b'id,a\n1,"2\0"\n', "row 2, column 'a': '2\u2400' holds a NUL"),
        (b'id,a\n1,"' + b"x" * 1_100_000 + b'"\n', "row 2: a cell is longer than 1,000,000 characters"),
        (b"id,a\n" + b"x" * 17_000_000, "row 2: a cell is longer than 1,000,000 characters"),
        (b'id,a\n1,"x\n2,y\n', "row 2: a quote is opened and never closed"),
        (b'id,a\n1,"x"y\n', "row 2: a cell goes on after its closing quote"),
        (b",".join(b"c%d" % n for n in range(10_001)) + b"\n1\n", "row 1: the header has 10,001 columns"),
        (b"a,b;c\nx\n", "row 1: 'a,b;c' the cells could be divided by comma or semicolon; say --delimiter"),
        (b"PK\x03\x04....", "The file is a spreadsheet"),
        ("id,a\n1,2\n".encode("utf-16-le"), "say --encoding utf-16-le"),
        ("id,a\n1,2\n".encode("utf-16")[:-1], "not utf-16"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(content: bytes, told: str) -> None:
    assert told in fault(content)


def test_other_encodings_are_asked_about_and_mixed_ones_refused() -> None:
    latin, utf8 = "2,café\n".encode("cp1252"), "3,Zoë\n".encode()
    header = b"id,note\n1,x\n"
    assert fault(header + latin).startswith(
        "row 3, column 'note': 'café' (read as cp1252) is not UTF-8; say --encoding"
    )
    assert read(header + latin, encoding="cp1252")[1] == (3, ["2", "café"])
    assert "but row 3, column 'note' is: the file mixes two encodings" in fault(header + utf8 + latin)
    assert fault(header + latin + utf8, encoding="cp1252").startswith(
        "row 4, column 'note': 'ZoÃ«' is UTF-8, not cp1252"
    )
    for name in (
        "latin-99",
        "idna",
        "punycode",
        "unicode_escape",
        "zlib",
        "hex",
        "rot13",
        "utf-7",
        "undefined",
        "a\0b",
    ):
        assert "no encoding that is known" in fault(header, encoding=name)
    far = header + b"1,x\n" * 5000 + latin  # beyond what is decoded at once
    assert fault(far).startswith("row 5003, column 'note'")


def numbers(*texts: str, decimal: str | None = None) -> list[float]:
    column = Numbers("age", decimal)
    return [column.read(row, text) for row, text in enumerate(texts, start=2)]


def test_the_decimal_mark_is_learnt_and_kept() -> None:
    assert numbers("1", " 2 ", "1.5", "-.5", "1e3") == [1, 2, 1.5, -0.5, 1000]
    assert numbers("1", "1,5", ",25") == [1, 1.5, 0.25]
    assert numbers("1,500", decimal="comma") == [1.5]


@pytest.mark.parametrize(
    ("texts", "decimal", "told"),
    [
        (["1.5", "2,5"], None, "row 3, column 'age': '2,5' has a decimal comma, row 2 ('1.5') has a decimal point"),
        (["1,5"], "point", "row 2, column 'age': '1,5' has a decimal comma, --decimal says a decimal point"),
        (["1,500"], None, "'1,500' could be a decimal comma or a thousands separator"),
        (["1.234,5"], None, "has a thousands separator"),
        (["1 234"], None, "has a thousands separator"),
        (["1,234,567"], None, "has a thousands separator"),
        (["nan"], None, "is not a number"),
        (["1_000"], None, "is not a number"),
        (["١٢"], None, "is not a number"),
        (["1e999"], None, "is too large"),
    ],
)
def test_numbers_that_could_be_two_are_refused(texts: list[str], decimal: str | None, told: str) -> None:
    with pytest.raises(CsvFault, match="row") as caught:
        numbers(*texts, decimal=decimal)
    assert told in caught.value.detail


def test_a_file_has_one_decimal_mark() -> None:
    age, score = Numbers("age"), Numbers("score")
    age.read(2, "1.5")
    assert one_decimal([age, score]) == "."
    score.read(3, "2,5")
    with pytest.raises(CsvFault, match=r"row 3, column 'score': '2,5' is written otherwise than '1.5' in row 2"):
        one_decimal([age, score])


def dates(*texts: str, order: Order | None = None) -> list[date]:
    column = Dates("born", order)
    for row, text in enumerate(texts, start=2):
        column.see(row, text)
    column.settled()
    return [column.read(row, text) for row, text in enumerate(texts, start=2)]


def test_dates_are_read_in_the_style_of_their_column() -> None:
    ninth = date(2026, 3, 9)
    assert dates("2026-03-09") == dates("9.3.2026") == dates("09/03/2026", "13/3/2026")[:1] == [ninth]
    assert dates("3/9/2026", "3-9-2026", order="mdy") == [ninth, ninth]
    assert dates("3/9/2026", "3/13/2026")[0] == ninth
    assert dates("9/3/2026", "9.3.2026", "2026-03-09", order="dmy") == [ninth] * 3  # said: each can mean one day only


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["3/4/2026"], "row 2, column 'born': '3/4/2026' and every other date here could be day or month first"),
        (
            ["3/13/2026", "13/3/2026"],
            "only be day first, others only month first: row 2 '3/13/2026', row 3 '13/3/2026'",
        ),
        (
            ["3/4/2026", "4.3.2026", "2026-03-04"],
            "several styles: row 2 '3/4/2026', row 3 '4.3.2026', row 4 '2026-03-04'",
        ),
        (["3/4/26"], "has a year of two digits"),
        (["31.2.2026"], "is no day of the calendar (read as day, month, year)"),
        (["soon"], "is no date; 2026-03-09 is accepted"),
    ],
)
def test_dates_that_could_be_two_are_refused(texts: list[str], told: str) -> None:
    with pytest.raises(CsvFault, match="column 'born'") as caught:
        dates(*texts)
    assert told in caught.value.detail


def test_moments_keep_their_offset() -> None:
    column = Dates("at", "dmy")
    assert column.read_moment(2, "2026-03-09T14:05:00Z") == datetime(2026, 3, 9, 14, 5, tzinfo=UTC)
    assert column.read_moment(2, "2026-03-09 9:05") == datetime(2026, 3, 9, 9, 5)
    assert column.read_moment(2, "9/3/2026 14:05:10") == datetime(2026, 3, 9, 14, 5, 10)
    for text in ("2026-03-09", "2026-03-09 25:00", "14:05"):
        with pytest.raises(CsvFault, match="column 'at'"):
            column.read_moment(2, text)

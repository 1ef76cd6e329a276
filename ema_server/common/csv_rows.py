"""CSV files from the wild, read in constant memory: what cannot be read is refused with its row and its column.

Rows count as a spreadsheet shows them: the header is row 1, and a cell with line breaks is still one row. The encoding
is UTF-8 (or what a byte-order mark says), the delimiter is found in the header; both can be said instead. Nothing is
guessed that could be wrong silently: a decimal comma among decimal points, or a date that could be two days, is a fault
that says how to decide.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import IO, Literal

from ema_server.common.errors import DomainError

Order = Literal["dmy", "mdy", "ymd"]

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
FIELD_LIMIT = 1_000_000  # characters in one cell
_LINE_LIMIT = 16_000_000  # of one line: a file without line breaks is not read into memory
_HEAD = 100_000  # characters that are looked at for the delimiter
_MOST_COLUMNS = 10_000
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_ONE_BYTE = re.compile(r"(cp|windows|iso|latin|l1|mac)", re.IGNORECASE)
# What Python calls an encoding although no file of texts is written so; decoding idna takes the square of a line's length.
_NO_FILE = re.compile(
    r"idna|punycode|.*escape|undefined|utf-7|base64|bz2|hex|quopri|rot.?13|uu|zlib|mbcs|oem", re.IGNORECASE
)

csv.field_size_limit(FIELD_LIMIT)


class CsvFault(DomainError):
    """The file cannot be taken as it is: where, what stands there, and what would be accepted."""

    code = "invalid_csv"
    status = 400

    def __init__(
        self, why: str, *, row: int | None = None, column: str | None = None, value: str | None = None
    ) -> None:
        self.row, self.column, self.value = row, column, None if value is None else shortened(value)
        where = ", ".join(
            part
            for part in (f"row {row}" if row else "", f"column {shortened(column, 80)!r}" if column is not None else "")
            if part
        )
        shown = "" if self.value is None else f"{self.value!r} "
        super().__init__(f"{where}: {shown}{why}" if where else f"{shown}{why}")


class _Damaged(Exception):
    """A line holds what no cell may hold; `is_so` tells the cell when the file is read again."""

    def __init__(self, is_so: Callable[[str], bool]) -> None:
        self.is_so = is_so


def shortened(text: str, to: int = 40) -> str:
    return text if len(text) <= to else f"{text[: to - 1]}…"


def open_csv(
    source: str | Path | IO[bytes],
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
    short_rows: bool = False,
) -> CsvRows:
    """Look at a file's beginning; raises CsvFault if that is no table. A given file must be seekable and stays open.
    `short_rows` may end before the header does: some programs leave out the last empty cells."""
    return CsvRows(source, encoding=encoding, delimiter=delimiter, decimal=decimal, short_rows=short_rows)


class CsvRows:
    """A table's header, how it is written, and its rows: `for number, cells in rows`. May be read more than once.

    A path is opened here and closed by `close()` or at the end of a `with`.
    """

    def __init__(
        self,
        source: str | Path | IO[bytes],
        *,
        encoding: str | None,
        delimiter: str | None,
        decimal: str | None,
        short_rows: bool = False,
    ) -> None:
        self._owned = isinstance(source, str | Path)
        self._file: IO[bytes] = open(source, "rb") if isinstance(source, str | Path) else source  # noqa: SIM115
        self.decimal = decimal
        self.short_rows = short_rows
        self.delimiter = delimiter or ","
        try:
            self.encoding = self._found_encoding(encoding)
            self.delimiter = delimiter or self._found_delimiter()
            self.header = self._checked_header()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CsvRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._owned:
            self._file.close()

    def described(self) -> str:
        """How the file was read, in words."""
        return f"{self.encoding.removesuffix('-sig')}, {DELIMITERS.get(self.delimiter, repr(self.delimiter))} between cells"

    def column(self, name: str) -> int:
        """Where a column stands; a fault that names those that are there."""
        if name not in self.header:
            raise CsvFault(f"the file has no column {name!r}; it has {', '.join(self.header)}.", row=1)
        return self.header.index(name)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        """Every row that holds anything, with its number and as many cells as the header."""
        width, filled = len(self.header), False
        for number, cells in self._records():
            if number == 1 or not any(cells):  # spreadsheets leave rows of empty cells at the end
                continue
            if len(cells) != width:
                if not self.short_rows or len(cells) > width:
                    raise self._ragged(number, cells)
                cells += [""] * (width - len(cells))
            filled = True
            yield number, cells
        if not filled:
            raise CsvFault("the file has a header and no rows; at least one is needed.", row=2)

    # How it is written

    def _found_encoding(self, said: str | None) -> str:
        self._file.seek(0)
        start = self._file.read(4096)
        self._file.seek(0)
        if not start.strip(b"\r\n\t \0"):
            raise CsvFault("The file is empty; a CSV file with a header and rows is accepted.")
        if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
            raise CsvFault("The file is a spreadsheet or an archive; save it as CSV (in Excel: CSV UTF-8).")
        for mark, name in _MARKS:
            if start.startswith(mark):
                return name
        if said is not None:
            with contextlib.suppress(LookupError, ValueError):
                name = codecs.lookup(said).name
                if not _NO_FILE.match(name):
                    return name
            raise CsvFault(f"{shortened(said)!r} is no encoding that is known; utf-8, utf-16 and cp1252 are.")
        if start[1::2].count(0) * 4 > len(start) or start[::2].count(0) * 4 > len(start):
            raise CsvFault(
                "The file looks like UTF-16 without a byte-order mark; say --encoding utf-16-le or utf-16-be."
            )
        return "utf-8"

    def _found_delimiter(self) -> str:
        """The delimiter that cuts the header into most cells; the first row decides between equals."""
        head = "".join(self._head_lines())
        cells = {}
        for mark in DELIMITERS:
            rows = csv.reader(io.StringIO(head, newline=""), delimiter=mark)
            try:
                cells[mark] = (len(next(rows, [])), len(next(rows, [])))
            except csv.Error:
                cells[mark] = (1, 1)
        most = max(first for first, _ in cells.values())
        best = [mark for mark, (first, _) in cells.items() if first == most]
        if most <= 1:  # one column, or a first line that cannot be read: told when it is
            return ","
        fitting = [mark for mark in best if cells[mark][1] == most]
        best = fitting or best
        if len(best) > 1:
            names = " or ".join(DELIMITERS[mark] for mark in best)
            raise CsvFault(f"the cells could be divided by {names}; say --delimiter.", row=1, value=head.split("\n")[0])
        return best[0]

    def _head_lines(self) -> Iterator[str]:
        """The first lines; a fault further down is told when its row is read."""
        try:
            size = 0
            for line in self._lines(self._text("replace")):
                yield line
                size += len(line)
                if size > _HEAD:
                    return
        except (UnicodeDecodeError, csv.Error, _Damaged):
            return

    def _checked_header(self) -> list[str]:
        header = [name.strip() for name in next((cells for _, cells in self._records("replace")), [])]
        if any("\ufffd" in name for name in header):
            raise self._not_in_encoding()
        if len(header) > _MOST_COLUMNS:
            raise CsvFault(f"the header has {len(header):,} columns; at most {_MOST_COLUMNS:,} are accepted.", row=1)
        seen: dict[str, int] = {}
        for position, name in enumerate(header, start=1):
            if not name:
                raise CsvFault(
                    f"the name of column {position} of {len(header)} is empty; every column needs a name.", row=1
                )
            if name in seen:
                raise CsvFault(
                    f"columns {seen[name]} and {position} have the same name; every column needs its own.",
                    row=1,
                    column=name,
                )
            seen[name] = position
        return header

    # Reading

    def _text(self, errors: str) -> io.TextIOWrapper:
        self._file.seek(0)
        return io.TextIOWrapper(self._file, encoding=self.encoding, errors=errors, newline="")

    def _lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        one_byte = bool(_ONE_BYTE.match(self.encoding))
        try:
            first = text.readline(_LINE_LIMIT)
            if not re.fullmatch(r"sep=.\s*", first):  # a line for Excel, which Excel does not count either
                yield from self._checked(first, one_byte)
            for line in iter(lambda: text.readline(_LINE_LIMIT), ""):
                if "\0" in line or one_byte or len(line) > FIELD_LIMIT:
                    yield from self._checked(line, one_byte)
                else:
                    yield line
        finally:
            with contextlib.suppress(ValueError):  # closed already
                text.detach()  # the file stays open for who gave it

    def _checked(self, line: str, one_byte: bool) -> Iterator[str]:
        if "\0" in line:
            raise _Damaged(lambda cell: "\0" in cell)
        if len(line) >= _LINE_LIMIT:
            raise csv.Error(f"line longer than {_LINE_LIMIT:,} characters")
        if one_byte and _is_utf8(line, self.encoding):
            raise _Damaged(lambda cell: _is_utf8(cell, self.encoding))
        yield line

    def _records(self, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
        number = 0
        reader = csv.reader(self._lines(self._text(errors)), delimiter=self.delimiter, strict=True)
        try:
            for number, cells in enumerate(reader, start=1):
                yield number, cells
        except csv.Error as error:
            raise CsvFault(f"{_in_words(str(error))}", row=number + 1) from None
        except UnicodeDecodeError:
            raise self._not_in_encoding() from None
        except _Damaged as damaged:
            raise self._damage(damaged.is_so) from None

    def _ragged(self, number: int, cells: list[str]) -> CsvFault:
        more = f"the last is {shortened(cells[-1])!r}" if len(cells) > 1 else f"it is {shortened(cells[0])!r}"
        return CsvFault(
            f"the row has {len(cells)} cells, the header {len(self.header)}; {more}. A cell that holds the delimiter "
            f"({DELIMITERS.get(self.delimiter, self.delimiter)}) must stand in quotes.",
            row=number,
        )

    # Where a damaged cell stands: the file is read again, slowly

    def _cells_again(self) -> Iterator[tuple[int, str, str]]:
        text = self._text("surrogateescape" if self.encoding.startswith("utf-8") else "replace")
        try:
            for number, cells in enumerate(csv.reader(text, delimiter=self.delimiter), start=1):
                for position, cell in enumerate(cells):
                    header: list[str] = getattr(self, "header", [])
                    yield number, header[position] if position < len(header) else str(position + 1), cell
        finally:
            text.detach()

    def _not_in_encoding(self) -> CsvFault:
        name = self.encoding.removesuffix("-sig")
        utf8 = name == "utf-8"
        sound: tuple[int, str] | None = None
        for number, column, cell in self._cells_again():
            if utf8 and any("\udc80" <= letter <= "\udcff" for letter in cell):
                guess = cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
                if sound:
                    why = (
                        f"(read as cp1252) is not UTF-8, but row {sound[0]}, column {sound[1]!r} is: the file mixes two "
                        "encodings. Save it again as UTF-8."
                    )
                else:
                    why = "(read as cp1252) is not UTF-8; say --encoding cp1252 if that is how it should read."
                return CsvFault(why, row=number, column=column, value=guess)
            if not utf8 and "\ufffd" in cell:
                return CsvFault(f"is not {name}; save the file as UTF-8.", row=number, column=column, value=cell)
            if sound is None and not cell.isascii() and not cell.startswith("\ufeff"):
                sound = (number, column)
        return CsvFault(f"The file is not {name}, or ends in the middle of a character; save it as UTF-8.")

    def _damage(self, is_so: Callable[[str], bool]) -> CsvFault:
        for number, column, cell in self._cells_again():
            if is_so(cell):
                if "\0" in cell:
                    why = "holds a NUL character; the file is damaged or no text. Save it again as CSV UTF-8."
                else:
                    why = f"is UTF-8, not {self.encoding}: leave --encoding out, or, if only some rows are, save the file again as UTF-8."
                return CsvFault(why, row=number, column=column, value=cell.replace("\0", "␀"))
        return CsvFault("The file is damaged; save it again as CSV UTF-8.")


def _is_utf8(text: str, encoding: str) -> bool:
    """Whether letters that were read byte by byte are really UTF-8, as 'Ã©' for 'é'."""
    if text.isascii():
        return False
    try:
        text.encode(encoding).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _in_words(error: str) -> str:
    if "field larger" in error or "line longer" in error:
        return f"a cell is longer than {FIELD_LIMIT:,} characters; is a closing quote missing?"
    if "end of data" in error:
        return "a quote is opened and never closed."
    if "expected after" in error:
        return "a cell goes on after its closing quote; a quote within a cell is written twice."
    return f"cannot be read ({error})."


# Numbers

_PLAIN = re.compile(r"[+-]?(?:\d+(\.\d*)?|(\.\d+))(?:[eE][+-]?\d+)?", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:[., '’\u00a0\u202f]\d{3})+(?:[.,]\d+)?", re.ASCII)
_COULD_BE_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}", re.ASCII)


class Numbers:
    """The numbers of one column. Whether it has a decimal point or comma is learnt from its values, and may be said;
    the other one in the same column is refused with both rows."""

    def __init__(self, column: str, decimal: str | None = None) -> None:
        self.column = column
        self.said = {"point": ".", "comma": ","}.get(decimal or "", decimal)
        self.decimal = self.said
        self.first: tuple[int, str] | None = None  # the row that taught it

    def read(self, row: int, text: str) -> float:
        """The number, or CsvFault with what would be accepted."""
        text = text.strip()
        match = _PLAIN.fullmatch(text)
        if match is not None:
            if (match[1] or match[2]) and self.decimal != ".":
                self._settle(".", row, text)
            number = float(text)
        elif _COMMA.fullmatch(text) is not None:
            if self.decimal is None and _COULD_BE_THOUSANDS.fullmatch(text):
                raise self._fault(
                    row,
                    text,
                    "could be a decimal comma or a thousands separator; say --decimal comma, or write it plainly.",
                )
            if self.decimal != ",":
                self._settle(",", row, text)
            number = float(text.replace(",", "."))
        elif _THOUSANDS.fullmatch(text) is not None:
            raise self._fault(row, text, "has a thousands separator; write the digits without.")
        else:
            raise self._fault(
                row, text, "is not a number; digits with at most one decimal point or comma are accepted."
            )
        if not math.isfinite(number):
            raise self._fault(row, text, "is too large for a number.")
        return number

    def _settle(self, mark: str, row: int, text: str) -> None:
        names = {".": "point", ",": "comma"}
        if self.decimal is not None:
            other = "--decimal says" if self.first is None else f"row {self.first[0]} ({self.first[1]!r}) has"
            raise self._fault(
                row,
                text,
                f"has a decimal {names[mark]}, {other} a decimal {names[self.decimal]}; a column keeps to one.",
            )
        self.decimal, self.first = mark, (row, text)

    def _fault(self, row: int, text: str, why: str) -> CsvFault:
        return CsvFault(why, row=row, column=self.column, value=text)


def one_decimal(columns: Iterable[Numbers]) -> str | None:
    """The decimal mark of a file; two columns that differ are asked about."""
    known = [each for each in columns if each.first is not None]
    for each in known[1:]:
        if each.decimal != known[0].decimal:
            (row, text), (before, seen) = each.first or (0, ""), known[0].first or (0, "")
            raise CsvFault(
                f"is written otherwise than {seen!r} in row {before}, column {known[0].column!r}: one file has one "
                "decimal mark. Write both alike.",
                row=row,
                column=each.column,
                value=text,
            )
    return known[0].decimal if known else None


# Dates

_ISO = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})", re.ASCII)
_LOCAL = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})", re.ASCII)
_SHORT_YEAR = re.compile(r"\d{1,2}([/.-])\d{1,2}\1\d{2}", re.ASCII)
_ACCEPTED = "2026-03-09 is accepted, also 9/3/2026 and 9.3.2026 where a column keeps to one style"
_ORDERS = {"dmy": "day, month, year", "mdy": "month, day, year", "ymd": "year, month, day"}


class Dates:
    """The dates of one column: first `see` them all, then `read` them. ISO, d/m/y, m/d/y or d.m.y, with a time or
    without; a column that could be read in two ways, or mixes styles, is refused with the rows. `order` decides."""

    def __init__(self, column: str, order: Order | None = None) -> None:
        self.column = column
        self.order: Order | None = order
        self._styles: dict[str, tuple[int, str]] = {}  # the first row of each way of writing
        self._evidence: dict[str, tuple[int, str]] = {}  # the first row that can only be dmy, only be mdy

    def see(self, row: int, text: str) -> None:
        """Take note of how this one is written; CsvFault if it is no date at all."""
        day = _day_part(text)
        if _ISO.fullmatch(day):
            self._styles.setdefault("year first", (row, day))
            return
        match = _LOCAL.fullmatch(day)
        if match is None:
            raise self._no_date(row, text)
        self._styles.setdefault(f"with {match[2]!r}", (row, day))
        first, second = int(match[1]), int(match[3])
        if first > 12:
            self._evidence.setdefault("dmy", (row, day))
        if second > 12:
            self._evidence.setdefault("mdy", (row, day))

    def settled(self) -> Order:
        """The order of day, month and year in this column, from all that was seen."""
        if self.order is not None:
            return self.order
        if len(self._styles) > 1:
            raise self._question("dates are written in several styles", self._styles)
        if len(self._evidence) > 1:
            raise self._question("some dates can only be day first, others only month first", self._evidence)
        if not self._styles or "year first" in self._styles:
            self.order = "ymd"
        elif self._evidence:
            self.order = "mdy" if "mdy" in self._evidence else "dmy"
        elif "with '.'" in self._styles:
            self.order = "dmy"
        else:
            row, text = next(iter(self._styles.values()))
            raise CsvFault(
                "and every other date here could be day or month first; say --dates dmy or --dates mdy.",
                row=row,
                column=self.column,
                value=text,
            )
        return self.order

    def read(self, row: int, text: str) -> date:
        """The day; where `--dates` was said, one written year first is read as well, since it can mean one day only."""
        day = _day_part(text)
        order = self.order or self.settled()
        match = _ISO.fullmatch(day)
        if match is not None:
            year, month, number = int(match[1]), int(match[3]), int(match[4])
        else:
            match = _LOCAL.fullmatch(day)
            if match is None or order == "ymd":
                raise self._no_date(row, text)
            year = int(match[4])
            number, month = (int(match[1]), int(match[3])) if order == "dmy" else (int(match[3]), int(match[1]))
        try:
            return date(year, month, number)
        except ValueError:
            raise CsvFault(
                f"is no day of the calendar (read as {_ORDERS['ymd' if _ISO.fullmatch(day) else order]}).",
                row=row,
                column=self.column,
                value=text,
            ) from None

    def read_moment(self, row: int, text: str) -> datetime:
        """The date and time; aware where an offset is written. A date alone is refused: it is no moment."""
        text = text.strip()
        if len(text) > 10 and text[4] == "-" and text[7] == "-":
            try:
                return datetime.fromisoformat(text)
            except ValueError:
                pass
        day = self.read(row, text)
        rest = text[len(_day_part(text)) :].strip().removeprefix("T").replace(" ", "")
        try:
            if len(rest) < 4:
                raise ValueError
            if rest[1:2] == ":":
                rest = f"0{rest}"
            return datetime.fromisoformat(f"{day.isoformat()}T{rest}")
        except ValueError:
            raise CsvFault(
                "is no date and time; 2026-03-09 14:05 is accepted, with seconds and with an offset (+01:00, Z) or without.",
                row=row,
                column=self.column,
                value=text,
            ) from None

    def _no_date(self, row: int, text: str) -> CsvFault:
        why = "has a year of two digits; write four." if _SHORT_YEAR.fullmatch(_day_part(text)) else "is no date"
        return CsvFault(why if why.endswith(".") else f"{why}; {_ACCEPTED}.", row=row, column=self.column, value=text)

    def _question(self, what: str, rows: dict[str, tuple[int, str]]) -> CsvFault:
        shown = ", ".join(f"row {row} {text!r}" for row, text in rows.values())
        row = max(row for row, _ in rows.values())
        return CsvFault(
            f"{what}: {shown}. Write them alike, or say --dates dmy or --dates mdy if that fits all of them.",
            row=row,
            column=self.column,
        )


def _day_part(text: str) -> str:
    """What stands before the time: up to the first blank or T."""
    text = text.strip()
    for position, letter in enumerate(text):
        if letter in " T":
            return text[:position]
    return text

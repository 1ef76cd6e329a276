"""CSV files: which kind they are, and a REDCap data dictionary as rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

from ema_server.surveys.exchange.carried import CannotRead

VARIABLE = "Variable / Field Name"
MAX_ROWS = 20_000

# REDCap's own heading → the name that its API gives the same column
COLUMNS = {
    VARIABLE: "field_name",
    "Form Name": "form_name",
    "Section Header": "section_header",
    "Field Type": "field_type",
    "Field Label": "field_label",
    "Choices, Calculations, OR Slider Labels": "select_choices_or_calculations",
    "Field Note": "field_note",
    "Text Validation Type OR Show Slider Number": "text_validation_type_or_show_slider_number",
    "Text Validation Min": "text_validation_min",
    "Text Validation Max": "text_validation_max",
    "Identifier?": "identifier",
    "Branching Logic (Show field only if...)": "branching_logic",
    "Required Field?": "required_field",
    "Custom Alignment": "custom_alignment",
    "Question Number (surveys only)": "question_number",
    "Matrix Group Name": "matrix_group_name",
    "Matrix Ranking?": "matrix_ranking",
    "Field Annotation": "field_annotation",
}
NEEDED = ("field_name", "form_name", "field_type", "field_label")
_BY_HEADING = {heading.casefold(): name for heading, name in COLUMNS.items()} | {
    name: name for name in COLUMNS.values()
}
_HEADINGS = {name: heading for heading, name in COLUMNS.items()}


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a data dictionary; `cells` by the names that REDCap's API gives the columns."""

    row: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    @property
    def place(self) -> str:
        return f"row {self.row} ({self['field_name']})"


@dataclass(frozen=True)
class Table:
    fields: list[Field]
    unknown: list[str]  # columns that are none of REDCap's


def text_of(content: bytes) -> tuple[str, list[str]]:
    """The text of a CSV file, and a note where it is not in UTF-8."""
    if b"\0" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise CannotRead("The file holds NUL bytes: it is no CSV, no workbook and no JSON.")
    for encoding in ("utf-16",) if content.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return text, [] if encoding == "utf-8-sig" else [
            f"The file was read as {encoding}; look whether letters with accents are right."
        ]
    raise CannotRead("The file's characters are neither UTF-8, UTF-16 nor Windows-1252; save it as CSV UTF-8.")


def is_xlsform(text: str) -> bool:
    """Whether a first column names the sheets, as pyxform writes it."""
    return any(row and row[0].strip().lower() == "survey" for row in _rows(text, ","))


def redcap_table(text: str) -> Table | None:
    """The rows of a data dictionary; None where the file is none."""
    first = text.lstrip("\n\r").split("\n", 1)[0].casefold()
    if VARIABLE.casefold() not in first and "field_name" not in first:
        return None
    for delimiter in ",;\t":
        header = [_BY_HEADING.get(" ".join(cell.split()).casefold()) for cell in next(_rows(text, delimiter), [])]
        if sum(name is not None for name in header) > 1:
            break
    missing = [_HEADINGS[name] for name in NEEDED if name not in header]
    if missing:
        raise CannotRead(
            f"This data dictionary lacks the column {' and '.join(map(repr, missing))}; export it from REDCap once more."
        )
    doubled = next((name for name in header if name and header.count(name) > 1), None)
    if doubled:
        raise CannotRead(f"The column {_HEADINGS[doubled]!r} is there twice.")
    rows = _rows(text, delimiter)
    unknown = [cell for cell, name in zip(next(rows), header, strict=True) if name is None and cell.strip()]
    fields = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        if number > MAX_ROWS:
            raise CannotRead(f"The data dictionary has more than {MAX_ROWS:,} rows.")
        if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
            raise CannotRead(
                f"Row {number} has {len(row)} cells, the header {len(header)}: a quotation mark is missing there or before."
            )
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=False) if name is not None}
        fields.append(Field(number, cells))
        for name in NEEDED[:3]:
            if not cells.get(name):
                raise CannotRead(f"Row {number}, column {_HEADINGS[name]!r}: empty; every field has one.")
    return Table(fields, unknown)


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise CannotRead(f"The CSV cannot be read: {error}.") from error

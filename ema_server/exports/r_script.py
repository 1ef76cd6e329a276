"""The R script beside a CSV file: base R alone; factors in the order of their levels, times with their zone, labels set."""

from __future__ import annotations

from collections.abc import Iterable

from ema_server.common.csv_cells import neutral
from ema_server.exports.contents import Contents
from ema_server.reports.variables import Variable


def script(contents: Contents, csv: str) -> str:
    """R code that makes a data frame, named after the shape, of the CSV file of this name."""
    frame = contents.shape
    lines = [
        f"# Reads {csv} of the study {contents.study.slug} into the data frame `{frame}`.",
        '# Run it in the folder of the file: source("read_' + f'{frame}.R", encoding = "UTF-8")',
        f'{frame} <- read.csv({_text(csv)}, colClasses = "character", na.strings = "", check.names = FALSE,',
        '  encoding = "UTF-8", quote = "\\"", comment.char = "", stringsAsFactors = FALSE)',
        "",
    ]
    for each in contents.variables:
        column = f"{frame}[[{_text(neutral(each.name))}]]"
        lines += [f"{column} <- {_read(each, column, contents.study.zone)}", *_attributes(each, column)]
    return "\n".join(lines) + "\n"


def _read(variable: Variable, column: str, zone: str) -> str:
    kind = variable.kind
    if kind == "category":
        values = [neutral(str(value)) for value, _ in variable.levels]
        labels = [label for _, label in variable.levels]
        if len(set(labels)) < len(labels):  # R would take two levels of one name for one
            labels = values
        return f"factor({column}, levels = {_vector(values)}, labels = {_vector(labels)})"
    if kind == "moment":
        utc = f'as.POSIXct({column}, format = "%Y-%m-%dT%H:%M:%OSZ", tz = "UTC")'
        return f"structure({utc}, tzone = {_text(zone)})"
    if kind == "local":
        return f'as.POSIXct({column}, format = "%Y-%m-%dT%H:%M:%S", tz = "UTC")'
    if kind == "date":
        return f"as.Date({column})"
    if kind == "flag":
        return f'{column} == "1"'
    if kind in {"number", "yesno", "whole"}:
        return f"as.numeric({column})"
    return column


def _attributes(variable: Variable, column: str) -> Iterable[str]:
    yield f'attr({column}, "label") <- {_text(variable.label)}'
    if variable.unit:
        yield f'attr({column}, "units") <- {_text(variable.unit)}'
    if variable.levels and variable.kind in {"number", "yesno", "whole"}:
        pairs = ", ".join(f"{_text(label)} = {value}" for value, label in variable.levels)
        yield f'attr({column}, "labels") <- c({pairs})'


def _vector(texts: list[str]) -> str:
    return f"c({', '.join(_text(text) for text in texts)})" if texts else "character(0)"


def _text(text: str) -> str:
    """An R string: what is not plain ASCII by its number, so that no locale can misread it."""
    return '"' + "".join(_character(each) for each in text) + '"'


def _character(each: str) -> str:
    if each in '"\\':
        return f"\\{each}"
    if " " <= each <= "~":
        return each
    return f"\\u{{{ord(each):x}}}" if ord(each) < 0x10000 else f"\\U{{{ord(each):x}}}"

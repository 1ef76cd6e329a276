"""Cells of CSV files that we write, as no spreadsheet takes them for a formula."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"^(?=[=+\-@\t\r\n＝＋－＠])|(?<=[;|\t\r\n])(?= *[=+\-@＝＋－＠])")
_NUMBER = re.compile(r"-\d+(\.\d+)?")
_QUOTED = re.compile(r'[,"\r\n]')


def neutral(text: str) -> str:
    """The text as no spreadsheet takes it for a formula. A negative number stays the number that it is."""
    return text if _NUMBER.fullmatch(text) else _FORMULA.sub("'", text)


def cell(text: str) -> str:
    """The text as it stands between two commas."""
    text = neutral(text)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text

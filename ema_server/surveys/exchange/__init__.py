"""Questionnaires from and to other systems' files, as `ema-survey/1` documents: pure, no framework.

What is carried over and what is not: `docs/importing-questionnaires.md`.
"""

from __future__ import annotations

from ema_server.surveys.exchange import as_json, redcap, tables, workbooks, xlsform
from ema_server.surveys.exchange.carried import CannotRead, Carried, Lost

__all__ = ["MAX_BYTES", "CannotRead", "Carried", "Lost", "read_file"]

MAX_BYTES = 10_000_000


def read_file(name: str, content: bytes) -> Carried:
    """The questionnaires in a file, whose kind is recognised by its content; `CannotRead` where it is refused."""
    if len(content) > MAX_BYTES:
        raise CannotRead(f"{name} has {len(content) / 1e6:.1f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read.")
    if not content.strip():
        raise CannotRead(f"{name} is empty.")
    if content.startswith(workbooks.ZIP):
        workbooks.check_xlsx(content)
        return xlsform.read(name, content, ".xlsx")
    if content.startswith(workbooks.OLE):
        workbooks.check_xls(content)
        return xlsform.read(name, content, ".xls")
    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["}:
        return as_json.read(name, content)
    text, notes = tables.text_of(content)
    table = tables.redcap_table(text)
    if table is not None:
        return redcap.read(name, table, notes)
    if tables.is_xlsform(text):
        return xlsform.read(name, text.encode(), ".csv")
    raise CannotRead(
        f"{name} is none of the files that can be read: an XLSForm (.xlsx, .xls, or .csv whose first column names the sheets), "
        f"a REDCap data dictionary (.csv with the column {tables.VARIABLE!r}) or a questionnaire in JSON."
    )

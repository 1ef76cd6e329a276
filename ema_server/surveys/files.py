"""Files with questionnaires, as the texts that people go on typing in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ema_server.surveys.exchange import read_file
from ema_server.surveys.typed import written


@dataclass(frozen=True, slots=True)
class Brought:
    """The texts by their questionnaires' names, what could not be carried over, and what a reader should know."""

    texts: Mapping[str, str]
    lost: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def texts_in(name: str, content: bytes) -> Brought:
    """What a file holds; raises `exchange.CannotRead`. JSON stays as it was typed, faults and all, so that they have lines."""
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if name.lower().endswith(".json") or start in {b"{", b"["}:
        try:
            return Brought({_name_of(name): content.decode("utf-8-sig")})
        except UnicodeDecodeError:
            pass  # whoever reads files of others says what is wrong with it
    carried = read_file(name, content)
    lost, notes = tuple(str(each) for each in carried.lost), tuple(carried.notes)
    return Brought({slug: written(document) for slug, document in carried.documents.items()}, lost, notes)


def _name_of(file: str) -> str:
    """A file's name as a questionnaire's: `Morning diary.json` is `morning-diary`."""
    stem = file.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-_")[:50] or "questionnaire"

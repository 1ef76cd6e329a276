"""What a column of answers holds, guessed from all its cells: the item that a questionnaire would have had for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ema_server.imports.maps import FLAG_WORDS
from ema_server.surveys.columns import RESERVED
from ema_server.surveys.kinds import LARGEST, LONGEST_VALUE

KEPT = 2_000  # different cells of a column that are remembered
LONG = 100  # characters: longer cells are texts, and not remembered
FEW_TEXTS = 20
SEVERAL = (
    3  # people who gave a text before it may be an option: a questionnaire outlives the erasure of who answered it
)
SMALL = 20  # integers up to here are steps of a scale, larger ones up to 100 a slider's
MOSTLY = 0.8  # of the cells are numbers: then the others are faults, not another type

WHOLE = re.compile(r"[+-]?\d{1,15}(?:\.0+)?", re.ASCII)
DECIMAL = {
    ".": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?", re.ASCII),
}
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
COMMA_HINT = 'looks like a decimal comma; say "decimal": "," in the map, or write a point.'


class Cells:
    """What was seen in one column."""

    def __init__(self, decimal: str) -> None:
        self.filled = 0
        self.seen: dict[str, int] = {}
        self.unshared: dict[str, set[str]] = {}  # text → who gave it, for those that may be options and lack people yet
        self._givers: dict[str, set[str]] = {}
        self._decimal = decimal
        self._others: Counter[str] = Counter()  # of cells that are not remembered
        self._low, self._high = LARGEST, -LARGEST
        self._longest = 0

    def first(self, text: str) -> None:
        """A cell that `seen` does not hold yet."""
        if len(self.seen) < KEPT and len(text) <= LONG:
            self.seen[text] = 1
            if len(self._givers) <= FEW_TEXTS:
                self.unshared[text] = self._givers.setdefault(text.strip(), set())
            return
        sort = self._sort(text)
        self._others[sort] += 1
        if sort in {"whole", "decimal"}:
            self._reach(text)
        self._longest = max(self._longest, len(text))

    def given(self, text: str, pseudonym: str) -> None:
        """Somebody gave a text of `unshared`."""
        givers = self.unshared[text]
        givers.add(pseudonym)
        if len(givers) >= SEVERAL:
            del self.unshared[text]

    @property
    def all_shared(self) -> bool:
        return all(len(givers) >= SEVERAL for givers in self.unshared.values())

    def kinds(self) -> Counter[str]:
        found = Counter(self._others)
        for text, times in self.seen.items():
            found[self._sort(text)] += times
        return found

    def reach(self) -> tuple[float, float]:
        for text in self.seen:
            if self._sort(text) in {"whole", "decimal"}:
                self._reach(text)
        return self._low, self._high

    @property
    def all_remembered(self) -> bool:
        return not self._others

    def _sort(self, text: str) -> str:
        text = text.strip()
        if WHOLE.fullmatch(text):
            return "whole"
        if DECIMAL[self._decimal].fullmatch(text):
            return "decimal"
        if DECIMAL[","].fullmatch(text):
            return "comma"  # a number to whoever wrote it; here a fault that says how to mend it
        if DATE.fullmatch(text):
            return "date"
        return "time" if TIME.fullmatch(text) else "text"

    def _reach(self, text: str) -> None:
        value = float(text.strip().replace(",", "."))
        self._low, self._high = min(self._low, value), max(self._high, value)


def item_for(cells: Cells, facts: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The item's type and what belongs to it, and in words how that was seen. What the map says of the item stands."""
    if "type" in facts:
        return _of_type(facts["type"], cells, facts)
    kinds = cells.kinds()
    words = {text.strip().lower() for text in cells.seen}
    if "options" in facts:
        return {"type": "choice", **facts}, "options from the map"
    if cells.all_remembered and words and words <= set(FLAG_WORDS) and (len(words) > 1 or not words & {"0", "1"}):
        return {"type": "yesno", **facts}, f"{', '.join(sorted(words))}"
    numbers = kinds["whole"] + kinds["decimal"] + kinds["comma"]
    if numbers >= MOSTLY * kinds.total() and numbers:
        return _number(cells, kinds, facts)
    for sort in ("date", "time"):
        if kinds[sort] == kinds.total() and kinds[sort]:
            return {"type": sort, **facts}, f"{sort}s"
    options = sorted({text.strip() for text in cells.seen})
    few = cells.all_remembered and 1 < len(options) <= FEW_TEXTS and cells.filled >= 3 * len(options)
    if not few or any(len(option) > LONGEST_VALUE for option in options):
        return {"type": "text", **facts}, "texts, sealed under each person's key"
    if not cells.all_shared:
        how = f"texts, sealed; an option is what {SEVERAL} people gave, or what --survey or the map says"
        return {"type": "text", **facts}, how
    return {"type": "choice", "options": options, **facts}, f"{len(options)} texts"


def name_for(column: str, taken: Iterable[str]) -> str:
    """A column's name as an item may be called."""
    name = re.sub(r"[^a-z0-9]+", "_", column.lower().strip()).strip("_")[:36] or "item"
    if not name[0].isalpha():
        name = f"item_{name}"[:36]
    if name in RESERVED:
        name = f"{name}_item"
    taken = set(taken)
    return next(each for each in (name, *(f"{name}_{n}" for n in range(2, 1000))) if each not in taken)


def _number(cells: Cells, kinds: Counter[str], facts: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    low, high = cells.reach()
    if low > high:  # decimal commas alone
        return {"type": "number", **facts}, "decimal commas"
    seen = f"{low:g} to {high:g}"
    if facts.get("range"):
        low, high = facts["range"]
    if kinds["decimal"]:
        return {"type": "number", **facts}, f"decimals, {seen}"
    if low == high or low < -SMALL or high > 100:
        return {"type": "number", **facts}, f"integers, {seen}"
    if high <= SMALL:
        return {"type": "likert", "range": [int(low), int(high)], **facts}, f"integers, {seen}"
    if low < 0:
        return {"type": "number", **facts}, f"integers, {seen}"
    return {"type": "slider", "range": [0, 100], **facts}, f"integers, {seen}"


def _of_type(kind: str, cells: Cells, facts: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    found = dict(facts)
    if kind in {"likert", "slider"} and "range" not in found:
        low, high = cells.reach()
        if kind == "slider" and low >= 0 and high <= 100:
            low, high = 0, 100
        if low >= high:
            low, high = (low, low + 1) if low <= high else (0, 1)
        found["range"] = [int(low), int(high)]
        return found, f"{kind}, {low:g} to {high:g}"
    return found, "as the map says"

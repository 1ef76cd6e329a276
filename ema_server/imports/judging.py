"""The second reading: each row becomes what is stored of it. A dry run counts these, an import stores them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ema_server.imports.findings import Findings
from ema_server.imports.guesses import COMMA_HINT, DECIMAL, item_for, name_for
from ema_server.imports.learning import EVERY, Learned
from ema_server.imports.maps import FLAG_WORDS, ItemCell, Map
from ema_server.imports.tables import Table
from ema_server.imports.times import DAY, EPOCH, MINUTE, Clock, TimeFault
from ema_server.participants.person_columns import Known, identifying
from ema_server.surveys import answers as rules
from ema_server.surveys.document import Item, Survey, read
from ema_server.surveys.faults import faults as document_faults

REMEMBERED = 20_000  # different cells of a column whose value is kept
SHORT = 60  # characters: longer cells are judged anew each time
DECIMALS = {"slider", "number", "duration"}
NONE_MISSED = (
    "Every row of the file is answered, as where missed prompts are left out: what share was answered is not known, "
    "whatever the counts say."
)


@dataclass(frozen=True, slots=True)
class Placed:
    """One row of the file with all that is stored of it. Moments are microseconds since 1970 in UTC."""

    nth: int
    person: int
    form: int
    rule: str
    wave: str
    day: int
    slot: int
    scheduled: int
    expires: int
    offset: int
    zone: str
    practice: bool
    again: bool
    state: str
    answers: dict[str, Any] | None
    complete: bool
    ended: tuple[str, int, int] | None  # as written, moment, offset: when it was answered, or when it expired
    started: str | None
    delivered: tuple[str, int, int] | None
    whole: bool  # no answer is a decimal, so that every JSON writer spells the answers alike


@dataclass(frozen=True, slots=True)
class Column:
    """Where one item's answers stand and how they are read; `inferred` says in words how its type was found."""

    item: Item
    place: int
    cell: ItemCell
    inferred: str


@dataclass(frozen=True)
class Form:
    """One questionnaire of the file."""

    name: str
    document: Mapping[str, Any]
    survey: Survey
    columns: tuple[Column, ...]
    given: bool  # by --survey, not inferred

    @property
    def strict(self) -> bool:
        """Whether an answer depends on others, so that a row must be judged as a whole."""
        return bool(self.survey.pages) or any(item.required or item.show_if is not None for item in self.survey.items)


@dataclass
class Plan:
    """What was decided after the first reading, and what both dry run and import follow."""

    table: Table
    map: Map
    clock: Clock
    learned: Learned
    forms: list[Form]
    person_table: list[str]
    notes: list[str] = field(default_factory=list)

    def rule(self, form: int, wave: int) -> str:
        """The name under which a questionnaire's prompts stand in the ledger: one for each wave, whose days may begin anew."""
        name = self.forms[form].name
        return name if wave < 0 else f"{name}-{wave + 1}"

    @property
    def has_clock(self) -> bool:
        return bool(self.map.when.columns)


class InvalidSurveyFile(Exception):
    """A questionnaire that cannot be used, with each fault."""


def decide(
    table: Table,
    mapping: Map,
    clock: Clock,
    learned: Learned,
    surveys: Mapping[str, Mapping[str, Any]],
    findings: Findings,
) -> Plan:
    """The questionnaires: given ones with their columns found, the others inferred from what the columns hold."""
    header = table.header
    person_table = list(
        mapping.person_table
        if mapping.person_table is not None
        else [header[place] for place in sorted(learned.steady)]
        if mapping.items is None
        else []
    )
    where = _item_cells(table, mapping, learned, set(person_table), surveys)
    for column in person_table:
        cells = [(2, person.facts.get(column, "").strip()) for person in learned.persons]
        if why := identifying(column, cells, Known()):
            why = why.replace("row 2 holds", "it holds")
            findings.add("columns", column, "", f'may say who somebody is: {why}. Name it in the map under "ignore".')
    person_table = [name for name in person_table if not findings.has("columns", name)]
    forms, used = [], set()
    for number, name in enumerate(learned.forms):
        filled = learned.filled.get(number, set())
        if name in surveys:
            form = _given(name, surveys[name], where, header)
        else:
            form = _inferred(
                name, [cell for cell in where.items() if _filled(cell[1], header, filled)], header, learned
            )
        used |= {header[column.place] for column in form.columns}
        forms.append(form)
    plan = Plan(table, mapping, clock, learned, forms, person_table, list(learned.notes))
    empty = []
    aside = mapping.used | used | set(person_table)
    aside |= {
        name for item in (mapping.items or {}).values() for name in (item.column, item.prefer, item.label_from) if name
    }
    for column in header:
        if column in aside:
            continue
        if not any(header.index(column) in filled for filled in learned.filled.values()):
            empty.append(column)
        else:
            findings.add(
                "columns", column, "",
                'is used for nothing; name it in the map under "items", "person_table" or "ignore".',
            )  # fmt: skip
    for form in forms:
        asked = {item.name for item in form.survey.items if item.asks} - {column.item.name for column in form.columns}
        if asked and form.given:
            plan.notes.append(f"Items of {form.name} that the file has no column for: {', '.join(sorted(asked))}.")
    if empty:
        plan.notes.append(f"Empty columns: {', '.join(empty)}.")
    return plan


def _filled(cell: ItemCell, header: list[str], filled: set[int]) -> bool:
    return any(header.index(name) in filled for name in (cell.column, cell.prefer) if name)


def _item_cells(
    table: Table, mapping: Map, learned: Learned, person_table: set[str], surveys: Mapping[str, Any]
) -> dict[str, ItemCell]:
    """Item → where its answers stand: by the map, else each column that is nothing else."""
    if mapping.items is not None:
        cells = dict(mapping.items)
        for name, cell in cells.items():
            if cell.prefer and learned.cells[table.header.index(cell.prefer)].filled:
                cells[name] = ItemCell(
                    cell.prefer, None, cell.label_from, cell.words, None, False, {"type": "likert", **cell.facts}
                )
        return cells
    known = {item["name"] for document in surveys.values() for item in document.get("items", [])}
    found: dict[str, ItemCell] = {}
    for column in table.header:
        if column in mapping.used or column in person_table:
            continue
        found[column if column in known else name_for(column, found)] = ItemCell(column)
    return found


def _given(name: str, document: Mapping[str, Any], where: Mapping[str, ItemCell], header: list[str]) -> Form:
    survey = read(document)
    columns = [
        Column(item, header.index(where[item.name].column), where[item.name], "")
        for item in survey.items
        if item.name in where and item.asks
    ]
    return Form(name, document, survey, tuple(columns), True)


def _inferred(name: str, cells: list[tuple[str, ItemCell]], header: list[str], learned: Learned) -> Form:
    items, columns = [], []
    for item_name, cell in cells:
        place = header.index(cell.column)
        facts = dict(cell.facts)
        labels = {text.strip(): label for text, label in learned.labels.get(header.index(cell.column), {}).items()}
        item, how = item_for(learned.cells[place], {**facts, **_with_labels(facts, cell, labels)})
        items.append({"name": item_name, "text": _plain(facts.get("text") or cell.column), "required": False, **item})
        columns.append((place, cell, how))
    document = {"schema": "ema-survey/1", "title": name, "items": items}
    if not items:
        document["items"] = [
            {"name": "nothing", "type": "information", "text": "The file holds no answers to this questionnaire."}
        ]
    faults = document_faults(document)
    if faults:
        raise InvalidSurveyFile("\n".join(f"{name}: {fault}" for fault in faults))
    survey = read(document)
    found = tuple(
        Column(survey.by_name[item["name"]], place, cell, how)
        for item, (place, cell, how) in zip(items, columns, strict=True)
    )
    return Form(name, document, survey, found, False)


def _plain(text: Any) -> Any:
    """A column's name as a text in which nothing is piped."""
    return re.sub(r"[{}]", "", text) if isinstance(text, str) else text


def _with_labels(facts: Mapping[str, Any], cell: ItemCell, labels: Mapping[str, str]) -> dict[str, Any]:
    """Options or labels of an item whose words stand in another column."""
    if not labels or "options" in facts:
        return {}
    kind = facts.get("type", "choice")
    pairs: dict[int, str] = {}
    for text, words in labels.items():
        numbers = [each.strip() for each in text.split(cell.separator)] if cell.separator else [text]
        spoken = _spoken(words)
        for number, label in zip(numbers, spoken if len(spoken) == len(numbers) else [""] * len(numbers), strict=True):
            if number.lstrip("-").isdigit():
                pairs.setdefault(int(number), label.strip())
    if kind == "likert":
        return {"labels": {str(number): label for number, label in sorted(pairs.items()) if label}}
    return {
        "type": "choices" if cell.separator else "choice",
        "options": [{"value": number, "label": label or str(number)} for number, label in sorted(pairs.items())],
    }


def _spoken(text: str) -> list[str]:
    """The texts of a cell that holds JSON texts, one or several with commas between."""
    try:
        return [str(each) for each in json.loads(f"[{text}]")]
    except ValueError:
        return [text]


@dataclass
class Counts:
    """What the rows are, as the dry run tells it."""

    states: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    left_out: int = 0
    answers: int = 0
    reissued: int = 0
    undated: int = 0  # answered by a clock that cannot be believed
    unheld: int = 0  # said to be answered, without any answer
    by_form: Counter[str] = field(default_factory=Counter)
    by_item: Counter[tuple[int, str]] = field(default_factory=Counter)

    @property
    def cautions(self) -> list[str]:
        """What a reader of the report must know of these rows."""
        missed = set(self.states) - {"answered", "late", "practice"}
        return [] if missed or not self.states else [NONE_MISSED]


class _BadCell:
    """What a cell that cannot be an answer is remembered as."""

    __slots__ = ("why",)

    def __init__(self, why: str) -> None:
        self.why = why


class _Cells:
    """One item's column: the answer that a cell's text is, judged once for each different text."""

    def __init__(self, column: Column, survey: Survey, mapping: Map) -> None:
        self.name, self.place = column.item.name, column.place
        self._item, self._cell, self._survey, self._map = column.item, column.cell, survey, mapping
        self._words = {str(word).strip().lower(): value for word, value in column.cell.words.items()}
        self.known: dict[str, Any] = dict.fromkeys(("", *mapping.missing))
        self._options = {str(option.value): option.value for option in column.item.options}

    def judge(self, text: str) -> Any:
        """The answer, None for an empty cell, or a _BadCell."""
        value = self._decoded(text.strip())
        if value is not None and not isinstance(value, _BadCell):
            faults = rules.faults(self._survey, {self.name: value}, complete=False)
            if faults:
                value = _BadCell(faults[0].removeprefix(f"{self.name}: "))
        if len(text) <= SHORT and len(self.known) < REMEMBERED:
            self.known[text] = value
        return value

    def _decoded(self, text: str) -> Any:
        if not text or text in self._map.missing:
            return None
        if text.lower() in self._words:
            return self._words[text.lower()]
        if self._cell.json:
            text = ", ".join(_spoken(text)).strip()
            if not text:
                return None
        kind = self._item.type
        if kind in {"likert", *DECIMALS}:
            return self._number(text)
        if kind in {"yesno", "media"}:
            found = FLAG_WORDS.get(text.lower())
            return (
                found
                if found is not None
                else _BadCell('is neither yes nor no; say what it means under "words" in the map.')
            )
        if kind == "choice":
            return self._option(text)
        if kind == "choices":
            return [self._option(each.strip()) for each in self._several(text)]
        return text

    def _number(self, text: str) -> Any:
        mark = self._map.decimal
        if DECIMAL[mark].fullmatch(text):
            number = float(text.replace(",", "."))
            return int(number) if number.is_integer() and abs(number) < 1e15 else number
        if mark == "." and DECIMAL[","].fullmatch(text):
            return _BadCell(COMMA_HINT)
        return _BadCell('is no number; if it stands for a missing answer, say so under "missing" in the map.')

    def _option(self, text: str) -> Any:
        return self._options.get(text, text)

    def _several(self, text: str) -> list[str]:
        if text.startswith("["):
            try:
                return [str(each) for each in json.loads(text)]
            except ValueError:
                return [text]
        return text.split(self._cell.separator or "|")


def judge(
    plan: Plan,
    findings: Findings,
    counts: Counts,
    *,
    believable: Callable[[int], bool],
    each: Callable[[int], None] = lambda rows: None,
) -> Iterator[Placed]:
    """Every row that has a place, in the file's order. What cannot be placed goes to `findings`, how many of what to `counts`."""
    judging = _Judging(plan, findings, counts, believable)
    placed = plan.learned.placed
    for nth, cells in enumerate(plan.table.rows()):
        if nth % EVERY == 0:
            each(nth)
        counts.rows += 1
        if placed[nth]:
            row = judging.row(nth, cells)
            if row is not None:
                yield row
                continue
        counts.left_out += 1
    each(counts.rows)


class _Judging:
    def __init__(self, plan: Plan, findings: Findings, counts: Counts, believable: Callable[[int], bool]) -> None:
        self.plan, self.learned, self.findings, self.counts = plan, plan.learned, findings, counts
        self.clock, self.believable = plan.clock, believable
        header, mapping = plan.table.header, plan.map
        at = {name: place for place, name in enumerate(header)}
        self.at = {name: at[cell.column] for name, cell in mapping.cells.items() if cell.column is not None}
        self.cells = [[_Cells(column, form.survey, mapping) for column in form.columns] for form in plan.forms]
        self.strict = [form.strict for form in plan.forms]
        self.rules = [form.name for form in plan.forms]
        self.status_at, self.practice_at = self.at.get("status"), self.at.get("practice")
        self.ended_at, self.started_at = self.at.get("answered_at"), self.at.get("started_at")
        self.expires_at, self.delivered_at = self.at.get("expires_at"), self.at.get("delivered_at")
        self.minutes_at = self.at.get("open_minutes")
        fixed = mapping.cells.get("open_minutes")
        self.open = int(float(fixed.value) * MINUTE) if fixed and fixed.value is not None else DAY
        self.words = (
            {str(word).strip().lower(): state for word, state in (mapping.cells["status"].words or {}).items()}
            if "status" in mapping.cells
            else {}
        )
        self.test = [person.test_person for person in plan.learned.persons]
        self._states: dict[str, str | None] = {}
        self._by_item = [Counter[str]() for _ in plan.forms]

    def row(self, nth: int, cells: list[str]) -> Placed | None:
        learned = self.learned
        number = learned.form[nth]
        scheduled, offset = learned.utc[nth], learned.offset[nth]
        zone = learned.zones[learned.zone[nth]]
        answers: dict[str, Any] = {}
        whole = True
        for column in self.cells[number]:
            text = cells[column.place]
            value = column.known.get(text, column)
            if value is column:
                value = column.judge(text)
            if value is None:
                continue
            if value.__class__ is _BadCell:
                where = self.plan.table.where(nth)
                self.findings.add("cells", self.plan.table.header[column.place], where, value.why, text)
                continue
            if value.__class__ is float:
                whole = False
            answers[column.name] = value
        ended = self._moment(nth, cells, self.ended_at, "answered_at", zone) if self.ended_at is not None else None
        started = self._moment(nth, cells, self.started_at, "started_at", zone) if self.started_at is not None else None
        state = self._state(nth, cells, answers, ended, started)
        if state is None:
            return None
        practice = self._practice(nth, cells)
        expires = self._expires(nth, cells, scheduled, zone)
        complete = state == "answered"
        if complete and self.strict[number] and self._refused(nth, number, answers, practice):
            return None
        counts = self.counts
        counts.by_form[self.rules[number]] += 1
        if complete:
            if ended is not None and ended[1] is None:
                counts.undated += 1
            shown = "late" if ended is not None and ended[1] is not None and ended[1] > expires else "answered"
            if not answers:
                counts.unheld += 1
        else:
            shown = f"{state} with answers" if answers and state != "begun" else state
        again = bool(learned.again[nth])
        counts.states["practice" if practice or self.test[learned.person[nth]] else shown] += 1
        counts.reissued += again
        counts.answers += len(answers)
        wave = learned.wave[nth]
        return Placed(
            nth, learned.person[nth], number, self.plan.rule(number, wave), learned.waves[wave] if wave >= 0 else "", learned.day[nth], learned.slot[nth],
            scheduled, expires, offset, zone, practice, again, state,
            answers if answers or complete else None, complete, ended,
            started[0] if started else None,
            self._moment(nth, cells, self.delivered_at, "delivered_at", zone) if self.delivered_at is not None else None,
            whole,
        )  # fmt: skip

    def _state(self, nth: int, cells: list[str], answers: Mapping[str, Any], ended: Any, started: Any) -> str | None:
        text = cells[self.status_at] if self.status_at is not None else ""
        if text:
            known = self._states.get(text, text)
            if known is text:
                bare = text.strip()
                known = "" if not bare or bare in self.plan.map.missing else self.words.get(bare.lower())
                if len(self._states) < 1_000:
                    self._states[text] = known
            if known is None:
                self.findings.add(
                    "statuses", self.plan.table.header[self.status_at or 0], self.plan.table.where(nth),
                    'is no status; say in the map what it means: "status": {"column": …, "words": {"…": "answered"}}, or expired, '
                    "cancelled, begun, no_record.",
                    text,
                )  # fmt: skip
                return None
            if known:
                return known
        if ended is not None:
            return "answered"
        if answers:
            return "begun" if self.ended_at is not None and started is not None else "answered"
        return "begun" if started is not None else self.plan.map.unanswered

    def _moment(self, nth: int, cells: list[str], place: int | None, name: str, zone: str) -> Any:
        """As written with its offset, the moment (None where the clock cannot be believed), the offset; None for an empty cell."""
        text = cells[place or 0].strip()
        if self.clock.is_empty(text) or text in self.plan.map.missing:
            return None
        try:
            learned = self.learned
            offset = (
                learned.offset[nth] if self.plan.map.when.offset_from or self.plan.map.when.offset_seconds else None
            )
            utc, minutes = self.clock.read(text, zone, offset)
        except (TimeFault, OverflowError) as fault:
            why = fault.args[0] if isinstance(fault, TimeFault) else "is no time."
            self.findings.add("times", self.plan.table.header[place or 0], self.plan.table.where(nth), why, text)
            return None
        return text, utc if self.believable(utc) else None, minutes

    def _expires(self, nth: int, cells: list[str], scheduled: int, zone: str) -> int:
        if self.expires_at is not None:
            moment = self._moment(nth, cells, self.expires_at, "expires_at", zone)
            if moment is not None and moment[1] is not None:
                if moment[1] >= scheduled:
                    return int(moment[1])
                self.findings.add(
                    "times", self.plan.table.header[self.expires_at], self.plan.table.where(nth),
                    "is before the planned time.", moment[0],
                )  # fmt: skip
        if self.minutes_at is not None:
            text = cells[self.minutes_at].strip()
            if text and text not in self.plan.map.missing:
                if DECIMAL[self.plan.map.decimal].fullmatch(text) and 0 < float(text.replace(",", ".")) <= 525_600:
                    return scheduled + int(float(text.replace(",", ".")) * MINUTE)
                self.findings.add(
                    "times", self.plan.table.header[self.minutes_at], self.plan.table.where(nth),
                    "is no number of minutes above 0.", text,
                )  # fmt: skip
        return scheduled + self.open

    def _practice(self, nth: int, cells: list[str]) -> bool:
        if self.practice_at is None:
            return False
        text = cells[self.practice_at].strip()
        if not text or text in self.plan.map.missing:
            return False
        words = self.plan.map.cells["practice"].words or {}
        found = words.get(text, words.get(text.lower()))
        if not isinstance(found, bool):
            self.findings.add(
                "statuses", self.plan.table.header[self.practice_at], self.plan.table.where(nth),
                'is neither true nor false; say under "words" in the map what it means.', text,
            )  # fmt: skip
            return False
        return found

    def _refused(self, nth: int, number: int, answers: Mapping[str, Any], practice: bool) -> bool:
        """Whether a finished questionnaire lacks what it requires, by the rules by which phones' answers are judged."""
        learned = self.learned
        wall = EPOCH + timedelta(microseconds=learned.utc[nth] + learned.offset[nth] * MINUTE)
        facts = {
            "day": learned.day[nth],
            "prompt": learned.slot[nth],
            "wave": learned.waves[learned.wave[nth]] if learned.wave[nth] >= 0 else "",
            "weekday": wall.isoweekday(),
            "hour": wall.hour + wall.minute / 60 + wall.second / 3600,
            "practice": practice,
        }
        found = rules.faults(self.plan.forms[number].survey, answers, complete=True, facts=facts)
        for fault in found:
            name, _, why = fault.partition(": ")
            self.findings.add(
                "answers",
                name,
                self.plan.table.where(nth),
                f'{why} Say "required": false in the questionnaire where it was optional.',
            )
        return bool(found)

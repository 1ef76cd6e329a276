"""XLSForm (ODK, KoBoToolbox, SurveyCTO) as our questionnaire, after pyxform has read the sheets.

Every row carries its number through pyxform in a column of its own, so that the report can say where.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pyxform.constants import DEFAULT_FORM_NAME
from pyxform.errors import PyXFormError
from pyxform.xls2json import workbook_to_json
from pyxform.xls2json_backends import get_xlsform

from ema_server.surveys.exchange import languages
from ema_server.surveys.exchange.carried import CannotRead, Carried, Lost
from ema_server.surveys.exchange.constraints import Limits, limits
from ema_server.surveys.exchange.drafting import Draft, bounds, ladder, yes_no
from ema_server.surveys.exchange.logic import LogicFault, parse
from ema_server.surveys.exchange.scoring import score_of
from ema_server.surveys.exchange.wording import listed, shortened, slug
from ema_server.surveys.kinds import MOST_OPTIONS, is_date, is_number, is_time

Format = Literal[".xlsx", ".xls", ".csv"]
Row = dict[str, Any]

MAX_ROWS = 5_000
ROW = "ema_row"
_SHEETS = {"survey", "choices", "settings"}
_METADATA = {
    "start", "end", "today", "deviceid", "subscriberid", "simserial", "phonenumber", "username", "email", "audit",
    "start-geopoint", "background-audio", "background-geopoint", "imei",
}  # fmt: skip
_ALIASES = {
    "int": "integer",
    "string": "text",
    "datetime": "dateTime",
    "select1": "select one",
    "trigger": "acknowledge",
}
_MEDIA = {"photo": "photo", "audio": "audio", "video": "video"}
_OWN_KEYS = {
    "type", "name", "label", "hint", "bind", "control", "parameters", "itemset", "list_name", "choices", "children",
    "media", "default", "choice_filter", "_dynamic_default", "actions", "query", ROW,
}  # fmt: skip
_TOLD_BINDS = {"relevant", "constraint", "required", "calculate"}
_YES = {"yes", "true", "true()", "1"}
_NO = {"", "no", "false", "false()", "0"}
_NEEDLESS = {"likert", "field-list", "table-list", "list-nolabel", "label"}  # appearances that are carried over


@dataclass(frozen=True, slots=True)
class _Entry:
    """A question with the groups that it stands in, the outermost first."""

    row: Row
    groups: tuple[Row, ...]

    @property
    def name(self) -> str:
        return str(self.row["name"])

    @property
    def type(self) -> str:
        return _ALIASES.get(self.row["type"], str(self.row["type"]))

    @property
    def place(self) -> str:
        return _place(self.row)

    def bind(self, key: str) -> str:
        return str(self.row.get("bind", {}).get(key) or "").strip()


def read(name: str, content: bytes, file_format: Format) -> Carried:
    """The questionnaire in a form; `CannotRead` where pyxform refuses it."""
    form, lost = _form(content, file_format)
    reader = _Reader(name, form, lost)
    return reader.carried()


def _form(content: bytes, file_format: Format) -> tuple[Row, list[Lost]]:
    lost: list[Lost] = []
    try:
        sheets = get_xlsform(content, file_type=file_format)
        rows = sheets.survey or []
        if len(rows) > MAX_ROWS:
            raise CannotRead(f"The sheet survey has {len(rows):,} rows; at most {MAX_ROWS:,} are read.")
        for number, row in enumerate(rows, start=2):
            if row:
                row[ROW] = str(number)
            if str(row.get("disabled", "")).lower() in _YES:
                lost.append(Lost(f"survey row {number}", f"{row.get('name', 'a row')}, which is disabled", "left out"))
        for header in sheets.survey_header or []:
            header[ROW] = None
        others = [sheet for sheet in sheets.sheet_names or [] if sheet.lower() not in _SHEETS]
        if others and len(sheets.sheet_names or []) > 1:
            lost.append(Lost("workbook", f"the sheets {listed(others)}", "not read"))
        form: Row = workbook_to_json(sheets, warnings=[])
    except CannotRead:
        raise
    except PyXFormError as error:
        raise CannotRead(f"This is no form that pyxform accepts: {shortened(str(error), 1_000)}") from error
    except Exception as error:  # whatever a library stumbles on in a stranger's file is the file's fault
        raise CannotRead(f"The form cannot be read ({type(error).__name__}: {shortened(str(error), 300)}).") from error
    return form, lost


class _Reader:
    def __init__(self, file: str, form: Row, lost: list[Lost]) -> None:
        self.form = form
        self.lists: Mapping[str, list[Row]] = form.get("choices", {})
        self.entries = list(_entries(form["children"], ()))
        default = str(form.get("default_language") or "default")
        stem = re.sub(r"\.\w+$", "", file)
        title = str(form["title"]) if form["title"] != DEFAULT_FORM_NAME else stem
        self.key = slug(stem if form["id_string"] == DEFAULT_FORM_NAME else str(form["id_string"]), "questionnaire")
        self.draft = Draft("xlsform", title, lost, [], _languages(form, self.entries, default), default)
        self.columns: dict[tuple[str, str], list[str]] = {}  # what is told once for a whole column
        self.group_conditions: dict[int, str | None] = {}
        self.unsure: set[int] = set()  # groups whose condition was lost
        self.page: tuple[int, str] | None = None
        self.ordered: list[str] = []
        self.coded: list[str] = []

    def carried(self) -> Carried:
        draft = self.draft
        for entry in self.entries:
            if _is_calculation(entry):
                draft.calculation(entry.name, entry.bind("calculate"))
        scores = [score for tree in draft.answers.calculations.values() if (score := score_of(tree))]
        self.scored = {item for score in scores for item in score.items}
        self.uses = Counter(entry.row.get("itemset") for entry in self.entries if entry.type == "select one")
        for entry in self.entries:
            self._question(entry)
        for entry in self.entries:
            if _is_calculation(entry):
                title = draft.text(entry.row.get("label"), entry.place, fallback=entry.name)
                draft.scale(entry.name, title, entry.place, entry.bind("calculate"))
        self._tell_the_rest()
        document = draft.finish()
        if document is None:
            raise CannotRead("No question of this form can be carried over: " + listed(map(str, draft.lost), 5))
        return Carried({self.key: document}, draft.lost, draft.notes)

    def _question(self, entry: _Entry) -> None:
        draft, row = self.draft, entry.row
        if _is_calculation(entry) or entry.name.startswith(
            ("generated_table_list_label_", "reserved_name_for_field_list_")
        ):
            return
        if entry.type in _METADATA or entry.type.startswith("uri:"):
            draft.answers.gone[entry.name] = f"{entry.name} is about the phone and was not carried over"
            self._column(
                "type",
                "left out: the server keeps the times of answers itself, and nothing else about the phone",
                entry.name,
            )
            return
        values: dict[str, Any] | None = None
        try:
            item, values = self._item(entry)
        except _NoCounterpart as reason:
            draft.drop(
                entry.name, entry.place, f"the question {entry.name} of type {row['type']}", f"left out: {reason}"
            )
            return
        label = row.get("label")
        if not label:
            draft.lose(entry.place, "no label", "shows its name")
        item["text"] = draft.text(label, entry.place, fallback=entry.name)
        if row.get("hint"):
            item["hint"] = draft.text(row["hint"], f"{entry.place}, hint", fallback=entry.name)
        if item["type"] != "information" and not self._required(entry):
            item["required"] = False
        page, unsure = self._page(entry)
        if page:
            item["page"] = page
        if entry.bind("relevant"):
            condition = draft.condition(entry.bind("relevant"), f"{entry.place}, relevant")
            if condition:
                item["show_if"] = condition
            unsure = unsure or condition is None
        if unsure and item["type"] != "information":
            item["required"] = False
        if entry.bind("constraint"):
            self._constraint(entry, item, values)
        self._other_cells(row)
        draft.add(entry.name, item, entry.place, values)

    def _item(self, entry: _Entry) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Type and what belongs to it."""
        if entry.type == "select one":
            return self._choice(entry)
        if entry.type == "select all that apply":
            options, values = self.draft.options(self._choices(entry), entry.place)
            return {"type": "choices", "options": options}, values
        if entry.type == "integer":
            return {"type": "number", "step": 1}, None
        if entry.type == "decimal":
            return {"type": "number"}, None
        if entry.type == "range":
            return self._slider(entry), None
        if entry.type in {"text", "date", "time"}:
            return {"type": entry.type}, None
        if entry.type == "dateTime":
            self.draft.lose(entry.place, "the time of a dateTime", "asks for the date alone")
            return {"type": "date"}, None
        if entry.type == "note":
            return {"type": "information"}, None
        if entry.type == "acknowledge":
            self.draft.lose(entry.place, "the OK of an acknowledge", "is information, read without confirming")
            return {"type": "information"}, None
        if entry.type in _MEDIA:
            return {"type": "media", "kind": _MEDIA[entry.type]}, None
        raise _NoCounterpart("there is no such type here")

    def _choices(self, entry: _Entry) -> list[tuple[str, Any]]:
        rows = entry.row.get("choices") or self.lists.get(entry.row.get("itemset", ""))
        if not rows:
            raise _NoCounterpart("its choices come from another file or question")
        if len(rows) > MOST_OPTIONS:
            raise _NoCounterpart(f"it has {len(rows):,} choices; at most {MOST_OPTIONS} are possible")
        if entry.row.get("choice_filter"):
            self.draft.lose(
                f"{entry.place}, choice_filter",
                shortened(str(entry.row["choice_filter"]), 200),
                "all choices are shown",
            )
        parameters = entry.row.get("parameters") or {}
        if parameters.get("randomize") == "true":
            self.draft.lose(
                f"{entry.place}, parameters", "randomize: choices in random order", "in the order of the sheet"
            )
        for row in rows:
            for medium in row.get("media") or {}:
                self._column(f"choices, {medium}", "left out", entry.row.get("itemset", ""))
        return [(str(row["name"]), row.get("label")) for row in rows]

    def _choice(self, entry: _Entry) -> tuple[dict[str, Any], dict[str, Any]]:
        pairs = self._choices(entry)
        for language in self.draft.languages or [self.draft.unsuffixed]:
            flags = yes_no([(code, _in(label, language)) for code, label in pairs])
            if flags is not None:
                labels = {
                    str(flags[code]).lower(): self.draft.text(label, entry.place, fallback=code)
                    for code, label in pairs
                }
                return {"type": "yesno", "labels": labels}, dict(flags)
        options, values = self.draft.options(pairs, entry.place)
        appearance = str(entry.row.get("control", {}).get("appearance", ""))
        shared = self.uses[entry.row.get("itemset")] > 1
        signs = "likert" in appearance or "list-nolabel" in appearance or entry.name in self.scored
        ends = ladder(values.values(), 2 if signs else 3)
        if ends and (signs or shared):
            if [option["value"] for option in options] != list(range(ends[0], ends[1] + 1)):
                self.draft.lose(entry.place, "the order of its choices", f"shown from {ends[0]} to {ends[1]}")
            self.ordered.append(entry.name)
            labels = {
                str(option["value"]): option["label"] for option in sorted(options, key=lambda each: each["value"])
            }
            return {"type": "likert", "range": list(ends), "labels": labels}, values
        if ends:
            self.coded.append(entry.name)
        return {"type": "choice", "options": options}, values

    def _slider(self, entry: _Entry) -> dict[str, Any]:
        given = entry.row.get("parameters") or {}
        start, end, step = (_number(given.get(key)) for key in ("start", "end", "step"))
        if start is None or end is None or start == end:
            raise _NoCounterpart(f"its range, {given.get('start')} to {given.get('end')}, cannot be read")
        if start > end:
            self.draft.lose(
                f"{entry.place}, parameters",
                f"a range that falls from {start} to {end}",
                f"rises from {end} to {start}",
            )
        low, high = sorted((start, end))
        appearance = str(entry.row.get("control", {}).get("appearance", ""))
        labels = {
            str(row["name"]): self.draft.text(row.get("label"), entry.place, fallback=str(row["name"]))
            for row in self.lists.get(given.get("tick_labelset", ""), ())
        }
        likert = "rating" in appearance and step == 1 and isinstance(low, int) and isinstance(high, int)
        item: dict[str, Any] = {"type": "likert" if likert else "slider", "range": [low, high]}
        if step is not None and not likert:
            item["step"] = abs(step)
        return item | ({"labels": labels} if labels else {})

    def _required(self, entry: _Entry) -> bool:
        given = entry.bind("required")
        if given.lower() in _YES | _NO:
            return given.lower() in _YES
        self.draft.lose(f"{entry.place}, required", f"required where {shortened(given, 200)}", "may always be skipped")
        return False

    def _page(self, entry: _Entry) -> tuple[str | None, bool]:
        """The page of a question's innermost group, a new one where it continues after another; and whether a
        condition round it was lost."""
        if not entry.groups:
            self.page = None
            return None, False
        group = entry.groups[-1]
        unsure = any(self._group(each) for each in entry.groups)
        if self.page is None or self.page[0] != id(group):
            conditions = [text for each in entry.groups if (text := self.group_conditions[id(each)])]
            if len(conditions) > 1:
                conditions = [f"({text})" if " or " in text else text for text in conditions]
            label = next((_label(each) for each in reversed(entry.groups) if _label(each)), None)
            title = self.draft.text(label, _place(group)) if label else None
            self.page = (
                id(group),
                self.draft.page(group["name"], _place(group), title, " and ".join(conditions) or None),
            )
        return self.page[1], unsure

    def _group(self, group: Row) -> bool:
        """Reads a group's condition, once; true where it has one that was lost."""
        if id(group) not in self.group_conditions:
            given = str(group.get("bind", {}).get("relevant") or "").strip()
            condition = self.draft.condition(given, f"{_place(group)}, relevant") if given else None
            self.group_conditions[id(group)] = condition
            if given and condition is None:
                self.unsure.add(id(group))
            if group["type"] != "group":
                self.draft.lose(_place(group), f"the repetition of {group['name']}", "is asked once")
            self._other_cells(group)
        return id(group) in self.unsure

    def _constraint(self, entry: _Entry, item: dict[str, Any], values: Mapping[str, Any] | None) -> None:
        place, text = f"{entry.place}, constraint", entry.bind("constraint")
        try:
            found = limits(parse(text, "xlsform"), whole=item.get("step") == 1)
        except LogicFault as fault:
            self.draft.lose(place, shortened(text, 300), f"left out: {fault}")
            return
        carried = self._limit(item, found, values)
        if not carried:
            self.draft.lose(place, shortened(text, 300), "left out: it has no counterpart here")
        elif found.others:
            self.draft.lose(place, shortened(text, 300), "carried over in part, as far as it is a range")
        elif found.open_ends:
            self.draft.lose(place, shortened(text, 300), "the end of the range is itself accepted")

    def _limit(self, item: dict[str, Any], found: Limits, values: Mapping[str, Any] | None) -> bool:
        """Puts limits into the item; false where none of them belongs there."""
        kind = item["type"]
        before = dict(item)
        if kind == "text" and found.longest:
            item["max_length"] = found.longest
        elif kind == "choices" and values is not None:
            item |= {key: number for key in ("at_least", "at_most") if (number := getattr(found, key))}
            alone = {values[code] for code in found.exclusive if code in values}
            item["options"] = [
                {**option, "exclusive": True} if option["value"] in alone else option for option in item["options"]
            ]
        elif kind in {"number", "slider", "likert"}:
            given = item.get("range") or (None, None)
            low, high = (
                found.low if found.low is not None else given[0],
                found.high if found.high is not None else given[1],
            )
            if not isinstance(low, str) and not isinstance(high, str) and (ends := bounds(low, high)):
                item["range"] = ends
        elif kind in {"date", "time"}:
            first, last = ("0001-01-01", "9999-12-31") if kind == "date" else ("00:00", "23:59")
            low, high = found.low or first, found.high or last
            accepts = is_date if kind == "date" else is_time
            if (found.low or found.high) and accepts(low) and accepts(high):
                item["range"] = [low, high]
        return item != before

    def _other_cells(self, row: Row) -> None:
        """Whatever a row holds beyond what was read."""
        place = _place(row)
        if row.get("default"):
            self.draft.lose(
                f"{place}, default", shortened(str(row["default"]), 200), "left out: nothing is answered beforehand"
            )
        for medium in row.get("media") or {}:
            self._column(str(medium), "left out", row["name"])
        appearance = set(str(row.get("control", {}).get("appearance", "")).split()) - _NEEDLESS
        if appearance:
            self._column(
                f"appearance ({' '.join(sorted(appearance))})", "left out: the phone decides how it looks", row["name"]
            )
        for key in row.get("bind", {}):
            if key not in _TOLD_BINDS:
                self._column(_BIND_COLUMNS.get(key, str(key)), "left out", row["name"])
        if row.get("bind", {}).get("calculate"):
            self.draft.lose(
                f"{place}, calculation", shortened(str(row["bind"]["calculate"]), 200), "left out: it is asked"
            )
        for key in row:
            if key not in _OWN_KEYS:
                self._column(str(key), "left out", row["name"])

    def _column(self, column: str, became: str, where: str) -> None:
        self.columns.setdefault((column, became), []).append(where)

    def _tell_the_rest(self) -> None:
        draft = self.draft
        for (column, became), where in self.columns.items():
            draft.lose(f"survey, column {column}", f"at {listed(dict.fromkeys(where))}", became)
        known = {
            "type", "name", "title", "id_string", "sms_keyword", "default_language", "children", "choices", "clean_text_values",
        }  # fmt: skip
        for key, value in self.form.items():
            if key not in known:
                draft.lose(f"settings, {key}", shortened(str(value), 100), "left out")
        for entry in self.entries:
            if entry.name.endswith("_other") and ROW not in entry.row:
                draft.lose(
                    _place(entry.groups[-1]) if entry.groups else "survey",
                    f"or_other at {entry.name[:-6]}",
                    f"a choice other, and a text {entry.name}",
                )
        if self.ordered:
            draft.notes.append(
                f"Likert: {listed(self.ordered)}, because the choices are whole numbers in a row and the question has the"
                " appearance likert, stands in a table, enters a score, or shares its list with another question."
            )
        if self.coded:
            draft.notes.append(
                f"Choice (a category in the data): {listed(self.coded)}. The choices are whole numbers in a row; make an item"
                " a likert where they are degrees of one thing."
            )
        if draft.pages:
            draft.notes.append("Groups became pages: the questions of a page share a screen.")
        if "default" in draft.languages:
            draft.notes.append(f"Texts whose column names no language have the code {draft.languages['default']}.")
        unknown = [f"{name} is {code}" for name, code in draft.languages.items() if re.fullmatch(r"q[a-t][a-z]", code)]
        if unknown:
            draft.notes.append(f"Languages without a known code: {listed(unknown)}; give them their own.")


class _NoCounterpart(Exception):
    """Why a question stays behind."""


_BIND_COLUMNS = {
    "jr:constraintMsg": "constraint_message", "jr:requiredMsg": "required_message", "readonly": "read_only",
    "jr:noAppErrorString": "no_app_error_string", "entities:saveto": "save_to",
}  # fmt: skip


def _entries(children: list[Row], groups: tuple[Row, ...]) -> Iterator[_Entry]:
    for child in children:
        if "children" in child:
            if child["name"] != "meta" or groups:
                yield from _entries(child["children"], (*groups, child))
        else:
            yield _Entry(child, groups)


def _is_calculation(entry: _Entry) -> bool:
    return bool(entry.bind("calculate")) and (entry.type == "calculate" or not entry.row.get("label"))


def _languages(form: Row, entries: list[_Entry], default: str) -> dict[str, str]:
    """Every language that a label or hint has, the default first."""
    rows = [row for entry in entries for row in (entry.row, *entry.groups)]
    rows += [row for choices in form.get("choices", {}).values() for row in choices]
    named = dict.fromkeys(
        language for row in rows for key in ("label", "hint") if isinstance(row.get(key), dict) for language in row[key]
    )
    if any(isinstance(row.get("label"), str) for row in rows) and named:
        named.setdefault(default)
    return languages.codes(sorted(named, key=lambda name: name != default))


def _place(row: Row) -> str:
    return f"survey row {row[ROW]} ({row['name']})" if ROW in row else f"survey ({row['name']})"


def _label(group: Row) -> Any:
    """A group's label; pyxform moves a table's into a note."""
    if group.get("label"):
        return group["label"]
    first: Row = next(iter(group.get("children", ())), {})
    return first.get("label") if str(first.get("name", "")).startswith("generated_table_list_label_") else None


def _in(label: Any, language: str) -> str:
    return str(label.get(language) or "") if isinstance(label, Mapping) else str(label or "")


def _number(text: Any) -> int | float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    if not is_number(value):
        return None
    return int(value) if value.is_integer() else value

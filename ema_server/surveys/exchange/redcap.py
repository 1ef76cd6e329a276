"""REDCap data dictionaries as our questionnaires: one for each form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ema_server.surveys.exchange.carried import CannotRead, Carried, Lost
from ema_server.surveys.exchange.drafting import Draft, bounds, ladder, yes_no
from ema_server.surveys.exchange.scoring import score_of
from ema_server.surveys.exchange.tables import Field, Table
from ema_server.surveys.exchange.wording import LONGEST_NAME, listed, shortened, slug
from ema_server.surveys.kinds import MOST_OPTIONS, is_date, is_number, is_time

MOST_FORMS = 200
_TAG = re.compile(r"@([A-Z][A-Z0-9_-]*)(?:\s*=\s*('[^']*'|\"[^\"]*\"|\([^()]*\)|[^\s'\"(]\S*))?")
_IDENTITY = re.compile(
    r"(^|_)(\w*id|record|number|no|nr|subject|participant|patient)(_|$)"
)  # an instrument has no id in front
_HIDDEN = {"HIDDEN", "HIDDEN-SURVEY"}
_CALCULATED = {"CALCTEXT", "CALCDATE"}
_CARRIED_TAGS = {"NONEOFTHEABOVE": "checkbox", "MAXCHECKED": "checkbox", "CHARLIMIT": "text"}
_COLUMNS = {  # what is told once for a whole column
    "custom_alignment": ("Custom Alignment", "left out: the phone decides how it looks"),
    "question_number": ("Question Number (surveys only)", "left out"),
    "matrix_ranking": ("Matrix Ranking?", "left out: an answer may be given to several questions"),
}


def read(name: str, table: Table, notes: list[str]) -> Carried:
    """The questionnaires in a data dictionary; `CannotRead` where no form has a question that can be asked here."""
    lost: list[Lost] = [
        Lost("header", f"the column {column!r}", "not read: it is none of REDCap's") for column in table.unknown
    ]
    fields = table.fields
    if not fields:
        raise CannotRead("The data dictionary has a header and no field.")
    record = fields[0]
    if record["field_type"] == "text" and _IDENTITY.search(record["field_name"][:LONGEST_NAME]) and len(fields) > 1:
        lost.append(Lost(record.place, "the record's id", "left out: the server gives each person a pseudonym"))
        fields = fields[1:]
    forms: dict[str, list[Field]] = {}
    for field in fields:
        forms.setdefault(field["form_name"], []).append(field)
    if len(forms) > MOST_FORMS:
        raise CannotRead(
            f"Column 'Form Name': {len(forms):,} forms; each becomes a questionnaire, and at most {MOST_FORMS} are read from "
            "one file. Is it the right column? Else split the file."
        )
    home = {field["field_name"]: field["form_name"] for field in fields} | {record["field_name"]: record["form_name"]}
    documents: dict[str, dict[str, Any]] = {}
    for form, its_fields in forms.items():
        reader = _Form(form, its_fields, home, lost, notes)
        document = reader.document()
        if document is None:
            lost.append(Lost(f"form {form}", "the form", "left out: no question remains of it"))
            continue
        key, number = slug(form, "questionnaire"), 1
        while key in documents:
            number += 1
            key = f"{slug(form, 'questionnaire')[:47]}-{number}"
        documents[key] = document
    if not documents:
        raise CannotRead("No field of this data dictionary can be carried over: " + listed(map(str, lost), 5))
    return Carried(documents, lost, notes)


class _Form:
    """One form while it is read, field by field."""

    def __init__(
        self, form: str, fields: list[Field], home: Mapping[str, str], lost: list[Lost], notes: list[str]
    ) -> None:
        self.form = form
        self.fields = fields
        title = form.replace("_", " ").strip()
        self.draft = Draft("redcap", title[:1].upper() + title[1:], lost, notes)
        for variable, its_form in home.items():
            if its_form != form:
                self.draft.answers.gone[variable] = f"{variable} is asked in another form, {its_form}"
        self.columns: dict[str, list[str]] = {}
        self.ordered: list[str] = []
        self.coded: list[str] = []
        self.page: tuple[str, str] | None = None
        self.seen: set[str] = set()

    def document(self) -> dict[str, Any] | None:
        draft = self.draft
        for field in self.fields:
            if field["field_type"] == "calc":
                draft.calculation(field["field_name"], field["select_choices_or_calculations"])
        scores = [score for tree in draft.answers.calculations.values() if (score := score_of(tree))]
        self.scored = {item for score in scores for item in score.items}
        self.uses = Counter(
            field["select_choices_or_calculations"]
            for field in self.fields
            if field["field_type"] in {"radio", "dropdown"}
        )
        for field in self.fields:
            self._field(field)
        for field in self.fields:
            if field["field_type"] == "calc":
                title = draft.text(field["field_label"], field.place, fallback=field["field_name"])
                draft.scale(field["field_name"], title, field.place, field["select_choices_or_calculations"])
        self._tell_the_rest()
        return draft.finish()

    def _field(self, field: Field) -> None:
        draft, theirs = self.draft, field["field_name"]
        if theirs in self.seen:
            draft.lose(field.place, f"the variable {theirs!r} a second time", "kept; conditions ask about the first")
        self.seen.add(theirs)
        for column in _COLUMNS:
            if field[column] and field[column].lower() != "n":
                self.columns.setdefault(column, []).append(theirs)
        tags = {found[1]: (found[2] or "").strip("'\"()") for found in _TAG.finditer(field["field_annotation"])}
        if field["field_type"] == "calc":
            self._tell_tags(field, tags)
            return
        if hidden := (_HIDDEN | _CALCULATED) & set(tags):
            self._header(field, page=False)
            draft.drop(theirs, field.place, f"{theirs} with @{min(hidden)}", "left out: nobody is asked it")
            return
        try:
            item, values = self._item(field, tags)
        except _NoCounterpart as reason:
            self._header(field, page=False)
            draft.drop(theirs, field.place, f"{theirs} of type {field['field_type']}", f"left out: {reason}")
            return
        matrix = field["matrix_group_name"]
        page = self._header(field, page=bool(matrix))
        if not field["field_label"]:
            draft.lose(field.place, "no label", "shows its name")
        item["text"] = draft.text(field["field_label"], field.place, fallback=theirs)
        if field["field_note"]:
            note = draft.text(field["field_note"], f"{field.place}, Field Note")
            item |= {"hint": note} if note else {}
        if item["type"] != "information":
            if field["required_field"].lower() not in {"y", "yes"}:
                item["required"] = False
            if field["identifier"].lower() in {"y", "yes"}:
                item["sensitive"] = True
        if page:
            item["page"] = page
        if field["branching_logic"]:
            condition = draft.condition(field["branching_logic"], f"{field.place}, Branching Logic")
            if condition:
                item["show_if"] = condition
            elif item["type"] != "information":
                item["required"] = False
        self._tell_tags(field, tags)
        draft.add(theirs, item, field.place, values)

    def _header(self, field: Field, *, page: bool) -> str | None:
        """The page of a matrix, with a section header as its title; elsewhere a header is information."""
        draft, header = self.draft, field["section_header"]
        matrix = field["matrix_group_name"] if page else ""
        if matrix and self.page is not None and self.page[0] == matrix and not header:
            return self.page[1]
        self.page = None
        place = f"{field.place}, Section Header"
        text = draft.text(header, place) if header else ""
        if matrix:
            self.page = (matrix, draft.page(matrix, place if header else field.place, text or None))
            return self.page[1]
        if text:
            draft.add(f"{field['field_name'][:33]}_header", {"type": "information", "text": text}, place)
        return None

    def _item(self, field: Field, tags: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        kind = field["field_type"]
        if kind == "text":
            return self._text(field, tags), None
        if kind == "notes":
            return self._limited(field, {"type": "text"}, tags), None
        if kind in {"radio", "dropdown"}:
            return self._choice(field)
        if kind == "checkbox":
            return self._choices(field, tags)
        if kind in {"yesno", "truefalse"}:
            words = ("Yes", "No") if kind == "yesno" else ("True", "False")
            return {"type": "yesno", "labels": dict(zip(("true", "false"), words, strict=True))}, {
                "1": True,
                "0": False,
            }
        if kind == "slider":
            return self._slider(field), None
        if kind == "descriptive":
            return {"type": "information"}, None
        raise _NoCounterpart(
            {"file": "a file cannot be sent", "sql": "its choices come from a database"}.get(
                kind, "there is no such type here"
            )
        )

    def _text(self, field: Field, tags: Mapping[str, str]) -> dict[str, Any]:
        draft, given = self.draft, field["text_validation_type_or_show_slider_number"]
        place = f"{field.place}, Text Validation Type"
        if given in {"integer", "int"}:
            return self._ranged(field, {"type": "number", "step": 1})
        if given.startswith(("number", "float")):
            if given not in {"number", "number_comma_decimal", "float"}:
                draft.lose(place, given, "a number with any decimals")
            return self._ranged(field, {"type": "number"})
        if given.startswith("date"):
            if given.startswith("datetime"):
                draft.lose(place, f"the time of a {given}", "asks for the date alone")
            return self._ranged(field, {"type": "date"})
        if given == "time" or given.startswith("time_hh_mm"):
            if given == "time_hh_mm_ss":
                draft.lose(place, f"the seconds of a {given}", "asks for hours and minutes")
            return self._ranged(field, {"type": "time"})
        if given:
            draft.lose(place, given, "any text is accepted")
        return self._limited(field, {"type": "text"}, tags)

    def _limited(self, field: Field, item: dict[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
        limit = tags.get("CHARLIMIT", "")
        return item | ({"max_length": int(limit)} if limit.isdecimal() and 1 <= int(limit) <= 10_000 else {})

    def _ranged(self, field: Field, item: dict[str, Any]) -> dict[str, Any]:
        """With the minimum and maximum, where they are constants."""
        ends = []
        for column in ("text_validation_min", "text_validation_max"):
            given = field[column]
            end = _end(given, item["type"]) if given else None
            if given and end is None:
                name = "Min" if column.endswith("min") else "Max"
                self.draft.lose(f"{field.place}, Text Validation {name}", given, "no limit on this side")
            ends.append(end)
        low, high = ends
        if low is None and high is None:
            return item
        if item["type"] == "number":
            return item | {"range": bounds(low, high)}
        first, last = ("0001-01-01", "9999-12-31") if item["type"] == "date" else ("00:00", "23:59")
        return item | {"range": [low or first, high or last]}

    def _pairs(self, field: Field) -> list[tuple[str, str]]:
        pairs = list(_choices(field["select_choices_or_calculations"]))
        if not pairs:
            raise _NoCounterpart("it has no choices")
        if len(pairs) > MOST_OPTIONS:
            raise _NoCounterpart(f"it has {len(pairs):,} choices; at most {MOST_OPTIONS} are possible")
        return pairs

    def _choice(self, field: Field) -> tuple[dict[str, Any], dict[str, Any]]:
        draft, pairs = self.draft, self._pairs(field)
        flags = yes_no(pairs)
        if flags is not None:
            labels = {str(flags[code]).lower(): draft.text(label, field.place, fallback=code) for code, label in pairs}
            return {"type": "yesno", "labels": labels}, dict(flags)
        options, values = draft.options(pairs, field.place)
        signs = bool(field["matrix_group_name"]) or field["field_name"] in self.scored
        ends = ladder(values.values(), 2 if signs else 3)
        if ends and (signs or self.uses[field["select_choices_or_calculations"]] > 1):
            if [option["value"] for option in options] != list(range(ends[0], ends[1] + 1)):
                draft.lose(field.place, "the order of its choices", f"shown from {ends[0]} to {ends[1]}")
            self.ordered.append(field["field_name"])
            labels = {
                str(option["value"]): option["label"] for option in sorted(options, key=lambda each: each["value"])
            }
            return {"type": "likert", "range": list(ends), "labels": labels}, values
        if ends:
            self.coded.append(field["field_name"])
        return {"type": "choice", "options": options}, values

    def _choices(self, field: Field, tags: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
        options, values = self.draft.options(self._pairs(field), field.place)
        alone = {values.get(code.strip()) for code in tags.get("NONEOFTHEABOVE", "").split(",")} - {None}
        item: dict[str, Any] = {
            "type": "choices",
            "options": [{**option, "exclusive": True} if option["value"] in alone else option for option in options],
        }
        most = tags.get("MAXCHECKED", "")
        if most.isdecimal() and 1 <= int(most) <= len(options):
            item["at_most"] = int(most)
        return item, values

    def _slider(self, field: Field) -> dict[str, Any]:
        low, high = _end(field["text_validation_min"], "number"), _end(field["text_validation_max"], "number")
        low, high = 0 if low is None else low, 100 if high is None else high
        given = [words.strip() for words in field["select_choices_or_calculations"].split("|")]
        middle = (low + high) / 2
        places = [low, int(middle) if float(middle).is_integer() else middle, high]
        if len(given) == 2:
            places = [low, high]
        labels = {
            str(place): self.draft.text(words, field.place)
            for place, words in zip(places, given, strict=False)
            if words
        }
        if len(given) > len(places):
            self.draft.lose(
                field.place, f"the slider labels {listed(given[len(places) :])}", "left out: there are three"
            )
        item: dict[str, Any] = {"type": "slider", "range": [low, high], "step": 1}
        return item | ({"labels": labels} if labels else {})

    def _tell_tags(self, field: Field, tags: Mapping[str, str]) -> None:
        annotation = field["field_annotation"]
        carried = {
            tag
            for tag, kind in _CARRIED_TAGS.items()
            if kind == field["field_type"] or (kind == "text" and field["field_type"] == "notes")
        }
        for tag, value in tags.items():
            if tag not in carried:
                self.draft.lose(
                    f"{field.place}, Field Annotation", f"@{tag}{'=' + value if value else ''}"[:200], "left out"
                )
        rest = _TAG.sub("", annotation).strip()
        if rest:
            self.draft.lose(f"{field.place}, Field Annotation", shortened(rest, 200), "left out: a note of the authors")

    def _tell_the_rest(self) -> None:
        for column, where in self.columns.items():
            heading, became = _COLUMNS[column]
            self.draft.lose(f"form {self.form}, column {heading}", f"at {listed(where)}", became)
        if self.ordered:
            self.draft.notes.append(
                f"{self.form}: likert are {listed(self.ordered)}, because the choices are whole numbers in a row and the field"
                " stands in a matrix, enters a score, or shares its choices with another field."
            )
        if self.coded:
            self.draft.notes.append(
                f"{self.form}: choices (a category in the data) are {listed(self.coded)}. Their codes are whole numbers in a row;"
                " make an item a likert where they are degrees of one thing."
            )
        if self.draft.pages:
            self.draft.notes.append(f"{self.form}: each matrix became a page; other fields have a screen each.")


class _NoCounterpart(Exception):
    """Why a field stays behind."""


def _choices(text: str) -> Iterator[tuple[str, str]]:
    """`1, Not at all | 2, A little`: codes and labels. A label may hold commas; a code alone is its own label."""
    for part in re.split(r"\||\n", text):
        code, comma, label = part.partition(",")
        if code.strip():
            yield code.strip(), label.strip() if comma and label.strip() else code.strip()


def _end(text: str, kind: str) -> Any:
    """A minimum or maximum; None where it is no constant of the kind."""
    if kind == "date":
        return text[:10] if is_date(text[:10]) else None
    if kind == "time":
        return text[:5] if is_time(text[:5]) else None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    if not is_number(value):
        return None
    return int(value) if value.is_integer() else value

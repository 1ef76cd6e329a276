"""Input that no app should send and some will: refused in words, beside neighbours that are stored, and never a 5xx."""

from __future__ import annotations

import gzip
import json
from typing import Any

from conformance.answers import value_of, wrong_value
from conformance.entering import problem
from conformance.running import Kit, check, expect, skip
from conformance.wire import Phone, moment, shown

MEGABYTE = 1024 * 1024


def beside_a_neighbour(
    phone: Phone, poison: str | bytes, what: str, *, names: str = "", may_store: bool = False
) -> str:
    """Send [poison, good]. A fault of the item is a `rejected` receipt beside `stored`; what is no JSON at all is a 4xx, after which
    the good one alone is stored. `may_store`: to be kept is as good."""
    good = phone.item(3)
    text = poison.encode(errors="surrogatepass") if isinstance(poison, str) else poison
    answer = phone.post(raw=b'{"items": [' + text + b", " + json.dumps(good).encode() + b"]}")
    if answer.status_code != 200:
        said = problem(answer, what)
        expect(
            phone.statuses(good) == ["stored"], f"{what}: refused whole, and the good item was not stored afterwards"
        )
        phone.sent[good["client_id"]] = good
        return f"{answer.status_code} {said['code']}"
    first, second = answer.json()["receipts"]
    expect(second["status"] == "stored", f"{what}: its neighbour was {second['status']}")
    phone.sent[good["client_id"]] = good
    if may_store and first["status"] == "stored":
        return "stored"
    expect(first["status"] == "rejected", f"{what}: {first['status']}; rejected was due")
    expect(first.get("code") and first.get("detail"), f"{what}: rejected without code or detail: {first}")
    expect(names in first["detail"], f"{what}: the detail does not name {names}: {first['detail'][:140]}")
    return str(first["code"])


def poisoned(phone: Phone, field: str, text: str) -> str:
    """A good item with `text` as the JSON of one field."""
    return json.dumps({**phone.item(), field: "@@"}).replace('"@@"', text)


def _member(name: str, words: str, field: str, text: str, *, names: str = "", may_store: bool = False) -> None:
    @check(f"bad.{name}", words)
    def _(kit: Kit) -> str:
        return beside_a_neighbour(
            kit.phone(), poisoned(kit.phone(), field, text), text[:40], names=names, may_store=may_store
        )


_member("nul", "A NUL in a text is refused: no database can hold it.", "note", '"a\\u0000b"')
_member("lone-surrogate", "Half an emoji is refused, and costs its own item alone.", "note", '"\\ud83d"')
_member("nesting", "100,000-deep nesting is refused.", "note", "[" * 100_000 + "]" * 100_000)
_member("nan", "NaN is refused: it is no JSON.", "note", "NaN")
_member("infinity", "1e999 is refused: it is no finite number.", "note", "1e999")
_member("huge-integer", "An integer of 5,000 digits is refused.", "note", "1" + "0" * 4_999)
_member("client-id", "A client_id that is no UUID is rejected.", "client_id", '"number 7"', names="client_id")
_member("prompt-type", "A prompt that is no UUID is rejected.", "prompt", '"the next one"', names="prompt")
_member(
    "version-type", "A survey_version that is no number is rejected.", "survey_version", '"one"', names="survey_version"
)
_member("answers-type", "Answers that are no object are rejected.", "answers", "[1, 2]", names="answers")
_member(
    "complete-type", "A `complete` that is neither true nor false is rejected.", "complete", '"yes"', names="complete"
)
_member(
    "naive-time",
    "A time without an offset is rejected: it would be a guess.",
    "answered_at",
    '"2026-03-29T02:30:00"',
    names="answered_at",
)
_member("no-time", "A time that is none is rejected.", "answered_at", '"yesterday"', names="answered_at")
_member(
    "shown",
    "An order that names an unknown item is rejected.",
    "shown",
    '["no_such_item_here"]',
    names="no_such_item_here",
)
_member(
    "response-ms", "A response time that is no number is rejected.", "response_ms", '{"a": "fast"}', names="response_ms"
)


@check("bad.year-1", "A time in the year 1 at +14:00 is refused or kept, and everything can be read afterwards.")
def _(kit: Kit) -> str:
    phone, told = kit.phone(), []
    for field in ("answered_at", "started_at"):
        for text in ('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-12:00"'):
            told.append(beside_a_neighbour(phone, poisoned(phone, field, text), f"{field} {text}", may_store=True))
    phone.synced()
    answer = phone.call("GET", "me/export")
    expect(answer.status_code in (200, 404), f"GET me/export afterwards: {shown(answer)}")
    return ", ".join(told) + "; sync and export still answer"


@check("bad.duplicate-keys", "A key that is there twice is rejected: two readers would see two contents.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    text = json.dumps(phone.item())[:-1] + f', "answered_at": "{moment(hours=-9)}"}}'
    return beside_a_neighbour(phone, text, "answered_at twice", names="answered_at")


@check("bad.utf-8", "Bytes that are no UTF-8 are refused.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    text = poisoned(phone, "note", '"@"').encode().replace(b"@", b"\xff\xfe\xc3")
    return beside_a_neighbour(phone, text, "invalid UTF-8")


@check("bad.answers", "An answer that its item cannot take is rejected, and the detail names the item.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    survey, filled = phone.filled()
    kinds = []
    for item in survey["document"]["items"]:
        if item["name"] not in filled.values or value_of(item) is None:
            continue
        answers = {**filled.values, item["name"]: wrong_value(item)}
        text = json.dumps(phone.item(0, answers=answers))
        beside_a_neighbour(phone, text, f"{item['name']}: {wrong_value(item)!r}", names=item["name"])
        kinds.append(item["type"])
    return "types: " + ", ".join(sorted(set(kinds)))


@check(
    "bad.missing-required",
    "A finished questionnaire without a required answer is rejected, and the detail names the item.",
)
def _(kit: Kit) -> str:
    phone = kit.phone()
    survey, filled = phone.filled()
    required = [
        each["name"]
        for each in survey["document"]["items"]
        if each["name"] in filled.values and each.get("required", True)
    ]
    if not required:
        skip("this questionnaire has no required item that is always shown")
    answers = {name: value for name, value in filled.values.items() if name != required[0]}
    return beside_a_neighbour(
        phone, json.dumps(phone.item(0, answers=answers, complete=True)), "no answer", names=required[0]
    )


@check("bad.item-too-large", "One item of a megabyte is refused alone, with its neighbour stored.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    return beside_a_neighbour(phone, poisoned(phone, "note", '"' + "x" * MEGABYTE + '"'), "an item of 1 MB")


@check("bad.others-prompt", "A prompt of somebody else is treated like one that nobody knows: no oracle.")
def _(kit: Kit) -> str:
    phone, other = kit.phone(1), kit.phone(2)
    if not other.sync["prompts"]:
        skip("the second person has no prompts")
    unknown = "6f1c7e0a-0000-4000-8000-000000000001"
    told = [phone.submit(phone.item(0, prompt=each))[0] for each in (other.sync["prompts"][0]["id"], unknown)]
    kept = [(each["status"], each.get("code", "")) for each in told]
    expect(kept[0] == kept[1], f"another's: {kept[0]}, nobody's: {kept[1]}")
    return f"both {kept[0][0]}"


def _body(name: str, words: str, raw: bytes, **due: Any) -> None:
    @check(f"body.{name}", words)
    def _(kit: Kit) -> str:
        said = problem(kit.phone().post(raw=raw), name, **due)
        return f"{said['status']} {said['code']}"


_body("no-json", "A body that is no JSON is a 400 with a problem document.", b"answers: 7", status=400)
_body("empty", "An empty body is a 400.", b"", status=400)
_body("array", "A body that is no object is a 400.", b"[]", status=400)
_body("no-items", "An object without items is a 400.", b"{}", status=400)
_body("no-list", "Items that are no list are a 400.", b'{"items": {"a": 1}}', status=400)
_body("empty-batch", "An empty batch is a 400.", b'{"items": []}', status=400)


@check("body.501-items", "501 items are 413 with batch_size and limit_items, and nothing of them is stored.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    items = [phone.item(variant) for variant in range(501)]
    said = problem(phone.post(items), "501 items", status=413, code="batch_size")
    expect(said.get("limit_items") == 500, f"limit_items is {said.get('limit_items')}")
    expect(phone.statuses(items[0]) == ["stored"], "the first of the refused batch was stored before")
    return "413, limit_items 500"


@check("body.six-megabytes", "A body of 6 MB gets a 413 that the phone receives, with the limit.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    for _ in range(3):
        said = problem(
            phone.post(raw=b'{"items": ["' + b"x" * 6 * MEGABYTE + b'"]}'), "6 MB", status=413, code="too_large"
        )
        expect(isinstance(said.get("limit_bytes"), int), f"limit_bytes is {said.get('limit_bytes')}")
    return f"413 three times, limit_bytes {said['limit_bytes']}"


@check("body.zip-bomb", "A body that says it is compressed and would fill the memory is a 4xx.")
def _(kit: Kit) -> str:
    bomb = gzip.compress(b"0" * 64 * MEGABYTE)
    answer = kit.phone().call("POST", "submissions", raw=bomb, headers={"Content-Encoding": "gzip"})
    said = problem(answer, f"{len(bomb)} bytes that become 64 MB")
    return f"{said['status']} {said['code']}"


@check("bad.still-well", "After all of this the server still takes an answer.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    expect(phone.statuses(phone.item()) == ["stored"], "a good answer was not stored")
    return "stored"

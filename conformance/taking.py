"""Submissions: exactly once, in spite of retries, races, cuts and contradictions."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from threading import Barrier
from typing import Any
from uuid import uuid4

import msgspec

from conformance.answers import numeric_item
from conformance.running import Kit, check, expect, skip
from conformance.wire import Phone, moment

AT_ONCE = 16


def once_more(phone: Phone, item: dict[str, Any], status: str, what: str) -> dict[str, Any]:
    (receipt,) = phone.submit(item)
    expect(receipt["status"] == status, f"{what}: {receipt['status']} {receipt.get('code', '')}; {status} was due")
    return receipt


@check("submit.stored", "An answer is stored, and its receipt names it.")
def _(kit: Kit) -> str:
    phone, item = kit.phone(), kit.phone().item()
    receipt = once_more(phone, item, "stored", "a good answer")
    expect(receipt["client_id"] == item["client_id"], f"the receipt names {receipt['client_id']}")
    left_out = phone.filled()[1].left_out
    return f"{len(item['answers'])} items answered" + (f"; left alone: {', '.join(left_out)}" if left_out else "")


@check("submit.receipts-in-order", "A batch gets one receipt for each item, in the items' order.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    items = [phone.item(variant) for variant in range(12)]
    receipts = phone.submit(*items)
    expect(len(receipts) == len(items), f"{len(items)} items, {len(receipts)} receipts")
    expect(
        [each["client_id"] for each in receipts] == [each["client_id"] for each in items], "receipts in another order"
    )
    expect({each["status"] for each in receipts} == {"stored"}, f"{Counter(each['status'] for each in receipts)}")
    return f"{len(items)} items"


@check("submit.duplicate", "The same answer again is a duplicate, however often, and twice in one batch.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    item, twin = phone.item(), phone.item(1)
    once_more(phone, item, "stored", "the first time")
    for _ in range(3):
        once_more(phone, item, "duplicate", "the same again")
    expect(
        sorted(phone.statuses(twin, twin)) == ["duplicate", "stored"],
        "twice in one batch: not one stored and one duplicate",
    )
    return "3 retries, and a pair in one batch"


@check(
    "submit.canonical",
    "The same content in another spelling (order of keys, blanks, 1 and 1.0, escapes) is a duplicate.",
)
def _(kit: Kit) -> str:
    phone = kit.phone()
    item = {**phone.item(), "note": "Zoë €"}  # a member that nobody knows yet is part of the content
    once_more(phone, item, "stored", "the first spelling")
    turned = json.dumps(item, ensure_ascii=True, indent=3)
    backwards = msgspec.json.encode(dict(reversed(item.items())))
    spellings = {"escapes and blanks": turned.encode(), "other order of keys": backwards}
    name = numeric_item(phone.filled()[0]["document"], item["answers"])
    if name is not None:
        value = item["answers"][name]
        for form in (f"{value}.0", f"{value}e0", f"{value}.00E+0"):
            text = json.dumps({**item, "answers": {**item["answers"], name: "@"}}).replace('"@"', form)
            spellings[f"{value} as {form}"] = text.encode()
    for words, spelt in spellings.items():
        (receipt,) = phone.submit(raw=b'{"items": [' + spelt + b"]}")
        expect(
            receipt["status"] == "duplicate",
            f"{words}: {receipt['status']} {receipt.get('code', '')}; duplicate was due",
        )
    return ", ".join(spellings) + ("" if name else "; no item with a whole number")


@check(
    "submit.conflict",
    "Other content under a used id is a conflict; the first stays, and both contents are told apart later.",
)
def _(kit: Kit) -> str:
    phone = kit.phone()
    item = phone.item()
    other = {**item, "answered_at": moment(hours=-2)}
    once_more(phone, item, "stored", "the first")
    expect(once_more(phone, other, "conflict", "another content").get("code"), "the receipt of a conflict has no code")
    once_more(phone, item, "duplicate", "the first again, after the conflict")
    once_more(phone, other, "conflict", "the second again")
    first, second = phone.item(2), None
    second = {**first, "answered_at": moment(hours=-3)}
    expect(phone.statuses(first, second) == ["stored", "conflict"], "both in one batch: stored, conflict was due")
    return "two contents, in two calls and in one"


@check("submit.permutations", "In whatever order and grouping answers arrive, the same is held in the end.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    items = [phone.item(variant) for variant in range(4)]
    told: Counter[str] = Counter()
    for order in permutations(items):
        told.update(phone.statuses(*order[:2]) + phone.statuses(*order[2:]))
    expect(told == {"stored": 4, "duplicate": 4 * 24 - 4}, f"24 orders of 4 answers: {dict(told)}; 4 stored was due")
    return "24 orders of 4 answers in two batches each: 4 stored, 92 duplicates"


@check("submit.any-time", "Late, early and orphaned answers are stored: nothing is refused for its timing.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    cases = {
        "a year ago": phone.item(answered_at=moment(days=-360)),
        "in a month": phone.item(answered_at=moment(days=30)),
        "by a clock at 1970": phone.item(answered_at="1970-01-01T00:00:00+00:00"),
        "on a prompt that nobody knows": phone.item(prompt=str(uuid4())),
        "started before it was answered": phone.item(started_at=moment(minutes=-3)),
    }
    for words, item in cases.items():
        once_more(phone, item, "stored", words)
    return ", ".join(cases)


@check("submit.evidence", "Time per item and the order shown are taken, with members that nobody knows yet.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    _, filled = phone.filled()
    names = list(filled.values)
    item = phone.item(shown=names[::-1], response_ms=dict.fromkeys(names, 1234), of_a_later_version={"a": [1, None]})
    once_more(phone, item, "stored", "with shown, response_ms and an unknown member")
    once_more(phone, item, "duplicate", "the same again")
    return f"{len(names)} items"


@check("submit.largest-batch", "A batch of 500 is taken whole.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    told = Counter(phone.statuses(*(phone.item(variant) for variant in range(500))))
    expect(told == {"stored": 500}, f"{dict(told)}")
    return "500 stored"


@check(
    "submit.poison-beside-neighbours",
    "One item that cannot be accepted costs no other; it is rejected with code and words.",
)
def _(kit: Kit) -> str:
    phone = kit.phone()
    first, last = phone.item(1), phone.item(2)
    receipts = phone.submit(first, {**phone.item(), "answers": {"no_such_item_here": 1}}, "no object", None, last)
    expect(
        [each["status"] for each in receipts] == ["stored", "rejected", "rejected", "rejected", "stored"], f"{receipts}"
    )
    for each in receipts[1:4]:
        expect(each.get("code") and each.get("detail"), f"a rejected item without code or detail: {each}")
    expect(
        "no_such_item_here" in receipts[1]["detail"],
        f"the detail does not name the item: {receipts[1]['detail'][:120]}",
    )
    return f"{receipts[1]['code']}, {receipts[2]['code']} between two stored"


@check(
    "submit.unknown-version", "An answer to a version that was never published is rejected as unknown_survey_version."
)
def _(kit: Kit) -> str:
    phone = kit.phone()
    for more in ({"survey_version": 987_654}, {"questionnaire": "never-published"}):
        receipt = once_more(phone, phone.item(0, **more), "rejected", f"{more}")
        expect(receipt.get("code") == "unknown_survey_version", f"{more}: code {receipt.get('code')}")
    return "unknown_survey_version"


@check("submit.same-id-at-once", f"{AT_ONCE} calls at once with one answer store it once.")
def _(kit: Kit) -> str:
    phone, told = kit.phone(), Counter[str]()
    for round_ in range(3):
        item, start = phone.item(round_), Barrier(AT_ONCE)

        def send(_: int, item: dict[str, Any] = item, start: Barrier = start) -> str:
            start.wait(30)
            return phone.statuses(item)[0]

        with ThreadPoolExecutor(AT_ONCE) as pool:
            told.update(pool.map(send, range(AT_ONCE)))
    expect(told == {"stored": 3, "duplicate": 3 * (AT_ONCE - 1)}, f"3 rounds: {dict(told)}; 3 stored was due")
    return f"3 rounds: {dict(told)}"


@check("submit.two-contents-at-once", "Two contents under one id at once: one is stored, the other a conflict.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    for _ in range(3):
        item, start = phone.item(), Barrier(2)
        pair = [item, {**item, "answered_at": moment(hours=-5)}]

        def send(each: dict[str, Any], start: Barrier = start) -> str:
            start.wait(30)
            return phone.statuses(each)[0]

        with ThreadPoolExecutor(2) as pool:
            told = sorted(pool.map(send, pair))
        expect(told == ["conflict", "stored"], f"{told}; conflict and stored were due")
    return "3 rounds"


@check(
    "submit.cut-before-the-answer",
    "A connection that is cut before the answer: the retry settles it, stored exactly once.",
)
def _(kit: Kit) -> str:
    phone, told = kit.phone(), Counter[str]()
    for number in range(12):
        item = phone.item(number)
        phone.api.cut(
            "POST", "submissions", _batch(item), token=phone.token, after=(0.0, 0.002, 0.01, 0.05)[number % 4]
        )
        (receipt,) = phone.submit(item)
        expect(receipt["status"] in ("stored", "duplicate"), f"the retry: {receipt}")
        once_more(phone, item, "duplicate", "and once more")
        phone.sent[item["client_id"]] = item
        told[receipt["status"]] += 1
    return f"12 cuts; the retry said {dict(told)}"


@check("submit.half-a-body", "Half a body leaves nothing behind.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    for part in (0.1, 0.5, 0.99):
        items = [phone.item(1), phone.item(2)]
        body = _batch(*items)
        phone.api.cut("POST", "submissions", body, token=phone.token, send=int(len(body) * part), after=0.05)
        told = phone.statuses(*items)
        expect(told == ["stored", "stored"], f"after {part:.0%} of a body the whole one was {told}; stored was due")
    return "10 %, 50 % and 99 % of two items"


@check("manifest.truthful", "The manifest tells of each id whether it is stored, a conflict, in quarantine or unknown.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    item, twice, refused, never = (
        phone.item(),
        phone.item(1),
        phone.item(0, answers={"no_such_item_here": 1}),
        str(uuid4()),
    )
    expect(phone.statuses(item, twice, refused) == ["stored", "stored", "rejected"], "the items were not taken as due")
    expect(phone.statuses({**twice, "answered_at": moment(hours=-4)}) == ["conflict"], "no conflict")
    due = {
        item["client_id"]: "stored",
        twice["client_id"]: "conflict",
        refused["client_id"]: "quarantined",
        never: "unknown",
    }
    said = phone.manifest(list(due))
    expect(said == due, f"{[said.get(each) for each in due]}; {list(due.values())} was due")
    acknowledged = list(phone.sent)
    states: dict[str, str] = {}
    for start in range(0, len(acknowledged), 500):
        states |= phone.manifest(acknowledged[start : start + 500])
    missing = [each for each in acknowledged if states.get(each) not in ("stored", "conflict")]
    expect(
        not missing, f"{len(missing)} of {len(acknowledged)} acknowledged answers are not held, such as {missing[:1]}"
    )
    return f"{len(acknowledged)} acknowledged answers are all held"


@check("people.ids", "An id of somebody else is refused like an unusable one, and tells nothing of them.")
def _(kit: Kit) -> str:
    phone, other = kit.phone(1), kit.phone(2)
    if phone.pseudonym == other.pseudonym:
        skip("both codes are of one person")
    item, fresh = phone.item(), phone.item(1)
    expect(phone.statuses(item, fresh) == ["stored", "stored"], "the first person's answers were not stored")
    survey, _ = other.filled()
    theirs = {**item, "questionnaire": survey["questionnaire"], "survey_version": survey["version"]}
    kit.borrowed.add(item["client_id"])
    (receipt,) = other.submit(theirs)
    expect(receipt["status"] == "rejected", f"another person's id: {receipt['status']}; rejected was due")
    expect(phone.pseudonym not in json.dumps(receipt), f"the receipt names the other person: {receipt}")
    once_more(phone, item, "duplicate", "the first person's again")
    said = other.manifest([fresh["client_id"]])
    expect(said == {fresh["client_id"]: "unknown"}, f"the manifest tells of another person's answer: {said}")
    return f"rejected: {receipt.get('code')}"


def _batch(*items: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"items": items})

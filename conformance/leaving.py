"""Credentials that end, and the person's rights. The last checks withdraw the third and erase the fourth person."""

from __future__ import annotations

from typing import Any

from conformance.entering import problem
from conformance.running import Kit, check, expect, skip
from conformance.wire import Phone, enrolment, shown


@check("credential.rotation", "A credential is renewed with an overlap: a lost answer locks nobody out.")
def _(kit: Kit) -> str:
    phone = kit.phone(2)
    old = phone.token
    first = phone.call("POST", "device/credential")
    expect(first.status_code == 200 and first.json().get("token"), f"POST device/credential: {shown(first)}")
    again = kit.api.call("POST", "device/credential", token=old)  # the answer was lost: the old one asks again
    expect(again.status_code == 200, f"the old credential, before the new one was used: {shown(again)}")
    fresh = again.json()["token"]
    expect(fresh not in (old, first.json()["token"]), "the new credential is not new")
    for token, whose in (
        (fresh, "the new one"),
        (old, "the old one, within the overlap"),
        (fresh, "the new one again"),
    ):
        answer = kit.api.call("GET", "sync", token=token)
        expect(answer.status_code == 200, f"{whose}: {shown(answer)}")
    phone.token = fresh
    lost = kit.api.call("GET", "sync", token=first.json()["token"])
    problem(lost, "the credential of the lost answer", status=401)
    return f"overlap of {again.json().get('overlap_seconds', '?')} s; the one whose answer was lost is worthless"


@check(
    "credential.new-phone",
    "A new phone keeps the person and closes the old phone, whose backlog goes to quarantine with its own code.",
)
def _(kit: Kit) -> str:
    old = kit.phone(2)
    backlog, known = old.item(), old.item(1)
    expect(old.statuses(known) == ["stored"], "an answer before the change was not stored")
    made = old.call("POST", "device/successor-code")
    expect(made.status_code == 200 and made.json().get("code"), f"POST device/successor-code: {shown(made)}")
    code = made.json()["code"]
    preview = kit.api.call("POST", "enrolments/preview", {"code": code})
    consent = preview.json().get("consent") if preview.status_code == 200 else None
    answer = kit.api.call("POST", "enrolments", enrolment(code, consent))
    expect(answer.status_code == 201, f"the new phone's enrolment: {shown(answer)}")
    said = answer.json()
    kit.phones[2] = new = Phone(kit.api, said["token"], said["participant"], sent=old.sent)
    new.synced()
    expect(new.pseudonym == old.pseudonym, f"another person: {new.pseudonym} instead of {old.pseudonym}")
    problem(old.call("GET", "sync"), "the old phone's sync", status=401, code="replaced")
    receipts = old.submit(backlog, known)
    found = [(each["status"], each.get("code", "")) for each in receipts]
    expect(
        found[0] == ("rejected", "device_replaced"),
        f"the old phone's backlog: {found[0]}; rejected device_replaced was due",
    )
    expect(found[1][0] == "duplicate", f"what the old phone had sent before: {found[1]}; duplicate was due")
    expect(new.statuses(known) == ["duplicate"], "the new phone sends what the old one had sent: duplicate was due")
    return f"{new.pseudonym}: replaced, device_replaced"


@check("rights.pause", "A person pauses and resumes; what they answer meanwhile is stored as ever.")
def _(kit: Kit) -> str:
    phone = kit.phone(2)
    before = len(phone.synced()["prompts"])
    for _ in range(2):
        answer = phone.call("POST", "pause", {})
        expect(answer.status_code in (200, 204), f"POST pause: {shown(answer)}")
    try:
        during = len(phone.synced()["prompts"])
        expect(during == 0 or during < before or before == 0, f"{before} prompts before the pause, {during} within it")
        expect(phone.statuses(phone.item()) == ["stored"], "an answer within the pause was not stored")
    finally:
        answer = phone.call("POST", "resume", {})
    expect(answer.status_code in (200, 204), f"POST resume: {shown(answer)}")
    expect(phone.statuses(phone.item()) == ["stored"], "an answer after the pause was not stored")
    return f"{before} prompts ahead before, {during} while paused, {len(phone.synced()['prompts'])} after"


@check("rights.export", "The export of one's own data holds every acknowledged answer, each member as it was sent.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    answer = phone.call("GET", "me/export")
    expect(answer.status_code == 200, f"GET me/export: {shown(answer)}")
    found = {str(each["client_id"]).lower(): each["item"] for each in answer.json()["submissions"]}
    for client_id, item in phone.sent.items():
        expect(client_id in found, f"{client_id} was acknowledged and is not in the export ({len(found)} answers are)")
        different = [
            name for name in {**item, **found[client_id]} if not _same(found[client_id].get(name), item.get(name))
        ]
        expect(
            not different,
            f"{client_id}: {different[0]} was sent as {item.get(different[0])!r} and is exported as "
            f"{found[client_id].get(different[0])!r}"
            if different
            else "",
        )
    return f"{len(phone.sent)} acknowledged answers, each equal"


@check("rights.export-csv", "The export is there as CSV, too.")
def _(kit: Kit) -> str:
    answer = kit.phone().call("GET", "me/export?form=csv")
    kind = answer.headers.get("Content-Type", "")
    expect(answer.status_code == 200, f"GET me/export?form=csv: {shown(answer)}")
    expect("csv" in kind or "zip" in kind, f"type {kind}")
    return str(kind)


@check("rights.others", "Nobody's export holds anything of another person.")
def _(kit: Kit) -> str:
    phone, other = kit.phone(1), kit.phone(2)
    if not phone.sent:
        skip("nothing was stored for the first person")
    answer = other.call("GET", "me/export")
    expect(answer.status_code == 200, f"GET me/export: {shown(answer)}")
    leaked = [client_id for client_id in phone.sent if client_id not in kit.borrowed and client_id in answer.text]
    expect(not leaked, f"{len(leaked)} answers of {phone.pseudonym} are in the export of {other.pseudonym}")
    return f"none of {len(phone.sent)} answers"


@check(
    "rights.withdraw",
    "Withdrawing keeps what was given, stops asking, and sends later answers to quarantine with their own code.",
)
def _(kit: Kit) -> str:
    phone = kit.phone(3)
    item = phone.item()
    expect(phone.statuses(item) == ["stored"], "an answer before withdrawing was not stored")
    answer = phone.call("POST", "withdraw", {"data": "keep"})
    expect(answer.status_code in (200, 204), f"POST withdraw: {shown(answer)}")
    expect(phone.statuses(item) == ["duplicate"], "what was stored before is no duplicate any more")
    (receipt,) = phone.submit(phone.item(1))
    expect((receipt["status"], receipt.get("code")) == ("rejected", "withdrawn"), f"a later answer: {receipt}")
    export = phone.call("GET", "me/export")
    expect(export.status_code == 200 and item["client_id"] in export.text, f"the export afterwards: {shown(export)}")
    return "kept; later answers: withdrawn"


@check("rights.erase", "Withdrawing with erasure leaves nothing: the credential ends.")
def _(kit: Kit) -> str:
    phone = kit.phone(4)
    expect(phone.statuses(phone.item()) == ["stored"], "an answer before erasure was not stored")
    answer = phone.call("POST", "withdraw", {"data": "erase"})
    expect(answer.status_code in (200, 202, 204), f"POST withdraw: {shown(answer)}")
    for method, path in (("GET", "sync"), ("GET", "me/export")):
        after = phone.call(method, path)
        expect(after.status_code in (401, 404, 410), f"{method} {path} afterwards: {shown(after)}; 401 or 410 was due")
    return f"{after.status_code} {after.json()['code']}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, int | float) and isinstance(other, int | float):
        return bool(one == other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)

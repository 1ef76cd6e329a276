"""Prompt events and device reports: in batches, one receipt each, and sent twice kept once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from conformance.running import Kit, check, expect, skip
from conformance.wire import Phone, moment, shown


def told(phone: Phone, path: str, member: str, items: list[Any]) -> list[dict[str, Any]]:
    answer = phone.call("POST", path, {member: items})
    expect(answer.status_code == 200, f"POST {path}: {shown(answer)}")
    receipts: list[dict[str, Any]] = answer.json()["receipts"]
    expect(len(receipts) == len(items), f"{len(items)} items, {len(receipts)} receipts")
    return receipts


@check("events.once", "A prompt event is stored once, also sent twice, and a bad one costs no other.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    if not phone.synced()["prompts"]:
        skip("this person has no prompts; give the study a sampling plan that reaches today")
    prompt = phone.sync["prompts"][-1]["id"]
    event = {"id": str(uuid4()), "prompt": prompt, "kind": "delivered", "at": moment(minutes=-2)}
    first = told(phone, "prompt-events", "events", [event])
    again = told(phone, "prompt-events", "events", [event])
    expect((first[0]["status"], again[0]["status"]) == ("stored", "duplicate"), f"{first} and then {again}")
    bad: list[Any] = [
        {**event, "id": str(uuid4()), "kind": "eaten"},
        {**event, "id": str(uuid4()), "prompt": str(uuid4())},
        {**event, "id": str(uuid4()), "at": "noon"},
        {**event, "kind": "opened"},  # another content under a used id
        7,
    ]
    good = {**event, "id": str(uuid4()), "kind": "opened"}
    receipts = told(phone, "prompt-events", "events", [*bad, good])
    statuses = [each["status"] for each in receipts]
    expect(statuses == ["rejected"] * len(bad) + ["stored"], f"{statuses}; five rejected and one stored were due")
    expect(
        all(each.get("code") and each.get("detail") for each in receipts[: len(bad)]), f"no code or detail: {receipts}"
    )
    return ", ".join(each["code"] for each in receipts[: len(bad)])


@check("reports.once", "A device report is stored once, also sent twice, and a bad one costs no other.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    report = {"id": str(uuid4()), "at": moment(minutes=-2), "battery": 0.4, "app_version": "1.0", "queue": 3}
    first = told(phone, "device-reports", "reports", [report])
    again = told(phone, "device-reports", "reports", [report])
    expect((first[0]["status"], again[0]["status"]) == ("stored", "duplicate"), f"{first} and then {again}")
    good = {**report, "id": str(uuid4()), "battery": 0.3}
    receipts = told(phone, "device-reports", "reports", [{"id": "none"}, {**good, "battery": 17}, good])
    statuses = [each["status"] for each in receipts]
    expect(statuses == ["rejected", "rejected", "stored"], f"{statuses}; rejected, rejected, stored was due")
    return "stored, duplicate; two bad ones rejected"


@check("device.zone", "A phone may tell its zone again and again; an unknown one is refused.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    for _ in range(2):
        answer = phone.call("PUT", "device", {"zone": "Europe/Amsterdam", "app_version": "1.1"})
        expect(answer.status_code == 200, f"PUT device: {shown(answer)}")
    answer = phone.call("PUT", "device", {"zone": "Mars/Olympus"})
    expect(answer.status_code == 400 and "zone" in answer.json()["detail"], f"an unknown zone: {shown(answer)}")
    return "200, 200; 400 for Mars/Olympus"

"""Coming in: codes, consent, credentials, and how refusals look."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx

from conformance.running import Kit, check, expect, skip
from conformance.wire import Phone, enrolment, shown

PROBLEM = "application/problem+json"


def problem(answer: httpx.Response, what: str, *, status: int | None = None, code: str | None = None) -> dict[str, Any]:
    """A refusal in the API's form: 4xx, RFC 9457, with a code and a sentence."""
    expect(400 <= answer.status_code < 500, f"{what}: {shown(answer)}; a 4xx with a problem document was due")
    kind = answer.headers.get("Content-Type", "").split(";")[0].strip()
    expect(kind == PROBLEM, f"{what}: {answer.status_code} of type {kind or 'none'}; {PROBLEM} was due")
    said: dict[str, Any] = answer.json()
    for member in ("code", "detail", "title", "status"):
        expect(said.get(member), f"{what}: the problem document has no {member}: {shown(answer)}")
    expect(
        said["status"] == answer.status_code,
        f"{what}: status {said['status']} within an answer of {answer.status_code}",
    )
    expect(status is None or answer.status_code == status, f"{what}: {shown(answer)}; {status} was due")
    expect(code is None or said["code"] == code, f"{what}: code {said['code']}; {code} was due")
    return said


@check("enrol.preview", "A code can be looked at before it is used: study and consent text, and nothing is spent.")
def _(kit: Kit) -> str:
    code = kit.code(1)
    for _ in range(2):
        answer = kit.api.call("POST", "enrolments/preview", {"code": code})
        expect(answer.status_code == 200, f"POST enrolments/preview: {shown(answer)}")
        said = answer.json()
        expect(said.get("study", {}).get("title"), f"no study.title in {shown(answer)}")
        expect("consent" in said, f"no member consent (a text, or null) in {shown(answer)}")
    text = said["consent"]
    if text is not None:
        expect(
            text.get("version") and text.get("digest") and text.get("texts"),
            f"consent lacks version, digest or texts: {text}",
        )
    return f"{said['study']['title']!r}, consent {text['version'] if text else 'kept elsewhere'}; asked twice"


@check("enrol.unknown-code", "An unknown code is refused with code_not_valid.")
def _(kit: Kit) -> str:
    problem(kit.api.call("POST", "enrolments", enrolment("ZZZZZZZZZZ", None)), "an unknown code", code="code_not_valid")
    return "409 code_not_valid"


@check("enrol.faults", "A faulty enrolment is a 4xx that names the field, and spends nothing.")
def _(kit: Kit) -> str:
    code = kit.code(1)
    for field, value in (
        ("zone", "Mars/Olympus"),
        ("consent", {"version": "1", "given_at": "yesterday"}),
        ("zone", "a\0b"),
    ):
        answer = kit.api.call("POST", "enrolments", enrolment(code, None, **{field: value}))
        said = problem(answer, f"{field} {value!r}")
        expect(field in said["detail"], f"the detail does not name {field}: {said['detail'][:120]}")
    return "zone, consent.given_at"


@check(
    "enrol.lost-answer",
    "An enrolment whose answer was lost is sent again with its request_id, and lets the same phone in.",
)
def _(kit: Kit) -> str:
    code, preview = kit.code(1), kit.api.call("POST", "enrolments/preview", {"code": kit.code(1)})
    consent = preview.json().get("consent") if preview.status_code == 200 else None
    body = enrolment(code, consent)
    first = kit.api.call("POST", "enrolments", body)
    expect(first.status_code == 201, f"POST enrolments: {shown(first)}")
    said = first.json()
    kit.phones[1] = phone = Phone(kit.api, said["token"], said["participant"])
    again = kit.api.call("POST", "enrolments", body)
    if again.status_code in (200, 201):
        said = again.json()
        phone.token = said["token"]
    phone.synced()
    expect(again.status_code in (200, 201), f"the same request again: {shown(again)}")
    expect(said["participant"] == phone.pseudonym, f"two people: {phone.pseudonym} and {said['participant']}")
    return f"participant {phone.pseudonym} both times"


@check("enrol.used-code", "A single-use code lets one phone in and no second.")
def _(kit: Kit) -> str:
    if kit.study_code:
        skip("the code is study-wide (--study-code): it may be used again")
    kit.phone(1)
    problem(kit.api.call("POST", "enrolments", enrolment(kit.code(1), None)), "a used code", code="code_not_valid")
    return "409 code_not_valid"


@check("credential.needed", "Without a good credential every call is 401, with WWW-Authenticate and a code.")
def _(kit: Kit) -> str:
    for token, code in ((None, "not_authenticated"), (uuid4().hex, "unknown_credential")):
        for method, path in (("GET", "sync"), ("POST", "submissions"), ("POST", "prompt-events")):
            answer = kit.api.call(method, path, {} if method == "POST" else None, token=token)
            problem(answer, f"{method} {path}", status=401, code=code)
            expect("WWW-Authenticate" in answer.headers, f"{method} {path}: 401 without WWW-Authenticate")
    return "not_authenticated, unknown_credential"


@check("errors.form", "Every refusal is an RFC 9457 problem document, also for an unknown address and a wrong method.")
def _(kit: Kit) -> str:
    problem(kit.phone().call("GET", "no-such-call"), "an unknown address", status=404)
    problem(kit.phone().call("DELETE", "sync"), "a wrong method", status=405)
    return "404, 405"


@check("headers.types", "Answers say their type, and no cache between may keep what belongs to one phone.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    for answer in (phone.call("GET", "sync"), phone.post([phone.item()])):
        path = answer.request.url.path
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        expect(kind == "application/json", f"{path}: type {kind or 'none'}")
        cache = answer.headers.get("Cache-Control", "")
        expect(
            "no-store" in cache or "private" in cache,
            f"{path}: Cache-Control is {cache or 'missing'}; no-store was due",
        )
    return "application/json, no-store"

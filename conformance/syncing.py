"""What a phone is told: sync, its ETag, the server's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from conformance.running import Kit, check, expect, skip
from conformance.wire import shown

FAR_OFF = 600.0  # seconds


@check(
    "sync.content",
    "One call tells all that a phone needs offline: questionnaires with versions, prompts with times and offsets.",
)
def _(kit: Kit) -> str:
    said = kit.phone().synced()
    for survey in said["surveys"]:
        expect(
            survey["questionnaire"] and isinstance(survey["version"], int),
            f"a survey without name or version: {survey}",
        )
        expect(survey["document"]["items"], f"{survey['questionnaire']}: no items")
    versions = {(survey["questionnaire"], survey["version"]) for survey in said["surveys"]}
    for prompt in said["prompts"]:
        expect(
            (prompt["questionnaire"], prompt["survey_version"]) in versions,
            f"prompt {prompt['id']}: its survey is not here",
        )
        opens, ends = (datetime.fromisoformat(prompt[name]) for name in ("scheduled_at", "expires_at"))
        expect(opens.tzinfo and ends.tzinfo and opens < ends, f"prompt {prompt['id']}: {opens} to {ends}")
    ids = [prompt["id"] for prompt in said["prompts"]]
    expect(len(set(ids)) == len(ids), "a prompt is there twice")
    return f"{len(said['surveys'])} questionnaires, {len(ids)} prompts"


@check("sync.unchanged", "With the last ETag an unchanged sync is 304 without a body, as often as one asks.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    first = phone.call("GET", "sync")
    etag = first.headers.get("ETag")
    expect(etag, "GET sync has no ETag")
    for _ in range(3):
        answer = phone.call("GET", "sync", headers={"If-None-Match": str(etag)})
        expect(answer.status_code == 304 and not answer.content, f"If-None-Match {etag}: {shown(answer)}; 304 was due")
        expect(answer.headers.get("ETag") == etag, "304 without the ETag")
    other = phone.call("GET", "sync", headers={"If-None-Match": '"of another time"'})
    expect(other.status_code == 200, f"another ETag: {shown(other)}")
    return f"ETag {etag}"


@check("sync.changed", "What changes for the phone changes the ETag: an answered prompt is not asked again.")
def _(kit: Kit) -> str:
    phone = kit.phone()
    first = phone.call("GET", "sync")
    phone.sync = first.json()
    if not phone.sync["prompts"]:
        skip("this person has no prompts; give the study a sampling plan that reaches today")
    prompt = phone.sync["prompts"][0]
    survey = next((each for each in phone.sync["surveys"] if each["questionnaire"] == prompt["questionnaire"]), None)
    if survey is None or survey["questionnaire"] != phone.filled()[0]["questionnaire"]:
        skip(f"the questionnaire {prompt['questionnaire']} cannot be answered blindly")
    expect(phone.statuses(phone.item(prompt=prompt["id"])) == ["stored"], "an answer to a prompt was not stored")
    second = phone.call("GET", "sync", headers={"If-None-Match": first.headers.get("ETag", "")})
    expect(second.status_code == 200, f"after an answer: {shown(second)}; the old ETag may not hold")
    expect(prompt["id"] not in {each["id"] for each in second.json()["prompts"]}, "the answered prompt is still there")
    phone.sync = second.json()
    return f"prompt {prompt['id']} answered and gone"


@check("sync.server-time", "server_time has its offset and is right to ten minutes by this machine's clock.")
def _(kit: Kit) -> str:
    said = datetime.fromisoformat(kit.phone().synced()["server_time"])
    expect(said.tzinfo, f"server_time {said} has no offset")
    away = (said - datetime.now(UTC)).total_seconds()
    expect(abs(away) < FAR_OFF, f"server_time is {away:.0f} s away from this machine's clock; one of the two is wrong")
    return f"{away:+.1f} s"

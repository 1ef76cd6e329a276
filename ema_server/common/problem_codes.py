"""Every `code` of a problem document below /api/ and of a receipt, with what it means: the source of the API's document
and of docs/problem-codes.md."""

from __future__ import annotations

from typing import Final, NamedTuple


class ProblemCode(NamedTuple):
    status: int
    meaning: str


PROBLEM_CODES: Final[dict[str, ProblemCode]] = {
    "bad_request": ProblemCode(400, "The request cannot be read, or its host is not served here."),
    "malformed": ProblemCode(400, "The body is no JSON of the shape that this call takes."),
    "invalid_body": ProblemCode(400, "A field of the body cannot be accepted; `errors` names each."),
    "invalid_until": ProblemCode(400, "`until` is not ahead, or more than a year."),
    "unknown_form": ProblemCode(400, "`form` names no form in which data are given."),
    "malformed_credential": ProblemCode(401, "The Authorization header is not `Bearer TOKEN`."),
    "not_authenticated": ProblemCode(401, "The call needs a phone's credential."),
    "unknown_credential": ProblemCode(401, "No phone has this credential."),
    "revoked": ProblemCode(401, "The study team closed this phone's credential."),
    "replaced": ProblemCode(401, "The person enrolled with a newer phone, which closed this one's credential."),
    "not_found": ProblemCode(404, "There is nothing at this address for this credential."),
    "method_not_allowed": ProblemCode(405, "The address has no such method."),
    "not_acceptable": ProblemCode(406, "The answer cannot have the form that was asked for."),
    "code_not_valid": ProblemCode(409, "The enrolment code is unknown, used up or expired."),
    "consent_outdated": ProblemCode(409, "Another consent text holds; `consent` carries it, to be shown."),
    "no_sampling_plan": ProblemCode(409, "The study has no sampling plan yet, so nobody can be asked anything."),
    "study_closed": ProblemCode(409, "The study's state does not allow this."),
    "withdrawn": ProblemCode(409, "The person has withdrawn, and is asked nothing any more."),
    "erased": ProblemCode(410, "The person was erased; nothing more can be stored about them."),
    "too_large": ProblemCode(413, "The body holds more bytes than `limit_bytes`."),
    "batch_size": ProblemCode(413, "The batch holds more items than `limit_items`."),
    "unsupported_media_type": ProblemCode(415, "The body is of a type that is not read here."),
    "throttled": ProblemCode(429, "Too many calls; try again after `Retry-After` seconds."),
    "server_error": ProblemCode(500, "A fault of the server, which noted it. Keep everything and try again later."),
    "unavailable": ProblemCode(503, "Nothing was stored; keep everything and try again after `Retry-After` seconds."),
}

RECEIPT_CODES: Final[dict[str, str]] = {
    "malformed": "The item is no JSON of the shape that this call takes.",
    "item_too_large": "The item holds more bytes than one may.",
    "unknown_survey_version": "This version of the questionnaire was never published in the study.",
    "malformed_time": "A time is no ISO 8601 time with an offset.",
    "malformed_text": "A text cannot be stored as it came.",
    "unknown_zone": "A time zone is not one of the IANA database.",
    "invalid_answer": "The answers do not fit the version that they name; `detail` names each item.",
    "client_id_taken": "The UUID is in use elsewhere; send the item under a fresh one.",
    "other_content": "Another content is stored under this UUID; both are kept.",
    "study_locked": "The data of the study are locked; the item is in quarantine.",
    "device_revoked": "The study team closed this phone's credential; the item is in quarantine.",
    "device_replaced": "A newer phone closed this one's credential; the item is in quarantine.",
    "withdrawn": "The person has withdrawn; the item is in quarantine.",
    "cannot_be_stored": "The database cannot hold a value of the item; it is in quarantine.",
    "unknown_kind": "There is no such kind of event.",
    "unknown_code": "There is no such code of an event.",
    "unknown_prompt": "This phone has no such prompt.",
    "id_taken": "Another event is stored under this UUID; send the event under a fresh one.",
}
"""Why an item of a batch was not stored; the batch itself is answered with 200."""

_TITLES: Final[dict[int, str]] = {
    400: "The body is not what this call takes",
    401: "No valid credential",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "No such form of answer",
    409: "Not possible now",
    410: "Gone",
    413: "Too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "This is our fault",
    503: "Not available now",
}


def title_of(status: int) -> str:
    """The title that a problem document of this status has, where nothing else is said."""
    return _TITLES.get(status, "The request cannot be served")

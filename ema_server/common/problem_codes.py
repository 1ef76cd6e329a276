"""Every `code` of a problem document below /api/, with its status and what it means: the source of the API's document."""

from __future__ import annotations

from typing import Final, NamedTuple


class ProblemCode(NamedTuple):
    status: int
    meaning: str


PROBLEM_CODES: Final[dict[str, ProblemCode]] = {
    "malformed": ProblemCode(400, "The body is no JSON of the shape that this call takes."),
    "invalid_body": ProblemCode(400, "A field of the body cannot be accepted; `errors` names each."),
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
    "erased": ProblemCode(410, "The person was erased; nothing more can be stored about them."),
    "too_large": ProblemCode(413, "The body holds more bytes than `limit_bytes`."),
    "batch_size": ProblemCode(413, "The batch holds more items than `limit_items`."),
    "unsupported_media_type": ProblemCode(415, "The body is of a type that is not read here."),
    "throttled": ProblemCode(429, "Too many calls; try again after `Retry-After` seconds."),
    "unavailable": ProblemCode(503, "Nothing was stored; keep everything and try again after `Retry-After` seconds."),
}

"""The ETag of `GET sync`: one statement over all that its content depends on, so that an unchanged phone costs one round
trip and no content is made.

It must be sound: where the content differs, the tag differs. So it covers whole rows of people, studies and waiting prompts,
the digests of what is published (a version is never edited), and of `now` what the content takes from it: which prompts lie
within the horizon, which messages have run out, which pause is open. `tests/server/responses/test_sync_tag.py` holds tag and
content against each other over every table that `sync_content` reads; whoever adds one there adds it here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, connection
from django.utils.http import parse_etags

import ema_server
from ema_server.common.statements import prepared_row
from ema_server.participants.models import Device
from ema_server.responses import sync
from ema_server.studies import states

# Another release may say the same in another form.
_FORM: Final = hashlib.sha256(
    ema_server.__version__.encode() + Path(sync.__file__).read_bytes() + Path(__file__).read_bytes()
).hexdigest()[:16]
_ASKING: Final = list(states.ACTIONS["prompt"].states)
_BY_DEVICE: Final = "d.id = %(device)s"
# The usual credential of an open phone. Any other case, such as the first use of a new one, `device_with` decides.
_BY_TOKEN: Final = (
    "d.token_digest = %(token)s AND d.revoked_at IS NULL"
    " AND (d.old_token_digest IS NULL OR d.old_token_until IS NOT NULL)"
)

_STATEMENT: Final = """
SELECT d.id, md5(concat_ws('|', %(form)s::text,
    hash_record_extended(p, 0), hash_record_extended(s, 0),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(ROW(v.id, v.questionnaire, v.number, v.digest), 0)))
        FROM studies_surveyversion v WHERE v.study_id = s.id),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(ROW(v.id, v.number, v.digest), 0)))
        FROM studies_samplingplan v WHERE v.study_id = s.id),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(ROW(v.id, v.number, v.digest, v.must_consent_anew), 0)))
        FROM studies_consenttext v WHERE v.study_id = s.id),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(ROW(v.id, v.number, v.digest), 0)))
        FROM studies_crisiscard v WHERE v.study_id = s.id),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(ROW(v.id, v.digest), 0)))
        FROM participants_consent v WHERE v.participant_id = p.id),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(ROW(m.id, m.written_at), 0)))
        FROM ema_messages_message m
        WHERE m.participant_id = p.id AND m.taken_back_at IS NULL
            AND (m.expires_at IS NULL OR m.expires_at > %(now)s)),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(u, 0)))
        FROM participants_pause u
        WHERE u.participant_id = p.id AND u.since <= %(now)s AND (u.until IS NULL OR u.until > %(now)s)),
    (SELECT concat(count(*), '.', bit_xor(hash_record_extended(ROW(q.id, q.plan_id, q.rule, q.questionnaire, q.day, q.slot,
            q.scheduled_at, q.expires_at, q.grace_minutes, q.local_date, q.local_time, q.zone, q.practice, q.wave, w.option, w.options,
            CASE WHEN s.state = ANY(%(asking)s) THEN NULL ELSE q.scheduled_at < coalesce(s.quiet_since, %(now)s) END), 0)))
        FROM sampling_prompt q LEFT JOIN sampling_decision w ON w.prompt_id = q.id
        WHERE q.participant_id = p.id AND q.scheduled_at <= %(until)s
            AND NOT EXISTS (SELECT FROM responses_submission a WHERE a.study_id = q.study_id AND a.prompt_id = q.id)
            AND NOT EXISTS (SELECT FROM sampling_promptevent e
                WHERE e.prompt_id = q.id AND (e.kind IN ('completed', 'expired')
                    OR e.kind = 'cancelled' AND NOT EXISTS (SELECT FROM sampling_promptevent r
                        WHERE r.prompt_id = q.id AND r.kind = 'restored' AND r.id > e.id))))
))
FROM participants_device d
JOIN participants_participant p ON p.id = d.participant_id
JOIN studies_study s ON s.id = p.study_id
WHERE """


@dataclass(frozen=True, slots=True)
class Known:
    """A phone that may call, and the tag of what it would be told."""

    device: int
    tag: str


def known_phone(token_digest: str, *, now: datetime) -> Known | None:
    """Whose current credential has this digest. None also where it is closed, old, or used for the first time, or where the
    connection has gone: authentication in full, with the error's own words, is then the long way's."""
    try:
        return _asked(_BY_TOKEN, {"token": token_digest}, now)
    except (DatabaseError, InterfaceError):
        if connection.in_atomic_block:
            raise
        return None


def tag_of(device: Device, *, now: datetime) -> str | None:
    """The tag of what this phone is told, asked before the content is read: what changes in between has another tag, and is
    fetched the next time. None where its person was erased while it called."""
    connection.close_if_health_check_failed()
    known = _asked(_BY_DEVICE, {"device": device.pk}, now)
    return known.tag if known else None


def _asked(which: str, values: dict[str, Any], now: datetime) -> Known | None:
    values |= {"form": _FORM, "now": now, "until": now + sync.HORIZON, "asking": _ASKING}
    found = prepared_row(_STATEMENT + which, values)
    return None if found is None else Known(found[0], f'"{found[1]}"')


def is_among(tag: str, if_none_match: str) -> bool:
    """Whether `If-None-Match` names this tag (RFC 9110, 13.1.2): a list, `*` for whatever there is, `W/` or not: a proxy that
    packs an answer weakens its tag."""
    given = parse_etags(if_none_match)
    return given == ["*"] or tag in (each.removeprefix("W/") for each in given)

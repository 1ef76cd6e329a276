"""Inviting, enrolling, and what a phone may change about itself."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F
from django_scopes import scope, scopes_disabled

from ema_server.common.errors import DomainError
from ema_server.ledger import audit, outbox
from ema_server.ledger import services as ledger
from ema_server.participants.models import (
    PLACE,
    Consent,
    Device,
    EnrolmentCode,
    Identity,
    Participant,
)
from ema_server.studies import states
from ema_server.studies.models import ConsentText, Study
from ema_server.studies.queries import current_consent_text
from ema_server.studies.structure import place_faults
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import server_key

CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no 0 O 1 I: people read codes aloud
LONGEST_PSEUDONYM = 40
CODE_LENGTH = 10  # 50 bits, short-lived
CODE_LIFETIME = timedelta(days=30)  # unless who makes it says otherwise
LONGEST_LIFETIME = timedelta(days=366)
MOST_USES = 10_000
REPEATED_WITHIN = timedelta(hours=24)  # an enrolment whose answer was lost may be sent again for so long
SHOWN_FAULTS = 20
NOT_VALID = "This code is unknown, used up or expired. Ask the study team for a new one."
GONE = "This person has left the study; a new invitation is needed."
CLOSED = {  # what a phone whose credential is closed is told
    Device.Closed.REVOKED: "This phone's credential was revoked. Enrol again.",
    Device.Closed.REPLACED: "The person enrolled with a newer phone, which closed this one's credential.",
}
ARMS_CHANGED = "arms_changed"  # the kind of its jobs: what is asked of whom may depend on their arm


class CodeNotValid(DomainError):
    """Unknown, used up, expired: one answer for all, so that nobody can probe for codes."""

    code = "code_not_valid"


class ConsentOutdated(DomainError):
    """The phone showed another text than the one that holds; `more` carries the one that does, to be shown."""

    code = "consent_outdated"

    def __init__(self, sent: str, digest: str, text: ConsentText | None) -> None:
        if text is None:
            said = f"consent.digest: {digest!r} is of another text; the study has none here. Leave the digest out."
        elif sent != text.version:
            said = f"consent.version: {sent!r} is not the current version, which is {text.version!r}. Show its text, and ask anew."
        else:
            said = f"consent.digest: {digest!r} is not of the current text, whose digest is {text.digest}. Show it, and ask anew."
        super().__init__(said)
        self.more = {"consent": text and {"version": text.version, "digest": text.digest, "texts": text.texts}}


class InvalidCode(DomainError):
    """What a researcher wants of a code cannot be had."""

    code = "invalid_code"
    status = 400


class CredentialUnknown(DomainError):
    code = "unknown_credential"
    status = 401


class DeviceClosed(DomainError):
    """The credential of this phone is closed; `code` says how."""

    status = 401

    def __init__(self, device: Device) -> None:
        because = Device.Closed(device.closed_because or Device.Closed.REVOKED)
        super().__init__(CLOSED[because])
        self.code = str(because)


class InvalidPlace(DomainError):
    code = "invalid_place"
    status = 400


class PseudonymTaken(DomainError):
    code = "pseudonym_taken"


class InvalidIdentity(DomainError):
    code = "invalid_identity"
    status = 400


class ReasonNeeded(DomainError):
    code = "reason_needed"
    status = 400


class PersonErased(DomainError):
    code = "erased"
    status = 410


@dataclass(frozen=True, slots=True)
class Enrolment:
    participant: Participant
    device: Device
    token: str  # shown once; the server keeps its digest


def digest_of_secret(text: str) -> str:
    """Of a credential with 256 bits of its own: nobody guesses one from its digest."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_code(code: str) -> str:
    """Of a code that people type, with any blanks and hyphens: short enough to be tried through, so the digest is keyed."""
    typed = "".join(code.upper().replace("-", " ").split())
    return keyed_digest(typed.encode(), key=server_key("enrolment codes"))


@transaction.atomic
def invite(
    *,
    study: Study,
    pseudonym: str,
    now: datetime,
    actor: str = "server",
    site: str = "",
    arm: str = "",
    dyad: str = "",
    role: str = "",
    first_day: date | None = None,
    last_day: date | None = None,
    test_person: bool = False,
    expires_at: datetime | None = None,
) -> tuple[Participant, str]:
    """Expect one person and make the single-use code that lets their phone in. Arm, site and role (in a dyad) are such as
    the study's structure names."""
    held = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    states.require(held.state, "invite")
    faults = _pseudonym_faults(pseudonym) + place_faults(held.structure, arm=arm, site=site, dyad=dyad, role=role)
    if dyad and not faults and Participant.objects.filter(study=study, dyad=dyad, dyad_role=role).exists():
        faults.append(f"role: dyad {dyad!r} has somebody who is {role} already.")
    if faults:
        raise InvalidPlace(" ".join(faults))
    if Participant.objects.filter(study=study, pseudonym=pseudonym).exists():
        raise PseudonymTaken(f"pseudonym: {pseudonym!r} is in this study already; choose another.")
    participant = Participant.objects.create(
        study=study,
        pseudonym=pseudonym,
        site=site,
        arm=arm,
        dyad=dyad,
        dyad_role=role,
        first_day=first_day,
        last_day=last_day,
        test_person=test_person,
    )
    audit.record(
        action="participant.invited",
        actor=actor,
        study_id=study.pk,
        about=participant.audit_name,
        changes={
            "fields": [name for name, value in _place_of(participant).items() if value]
        },  # erasure removes the rest
    )
    code = new_code(study=study, participant=participant, expires_at=expires_at, now=now, actor=actor)
    return participant, code


@transaction.atomic
def invite_all(
    *, study: Study, rows: Mapping[str, Mapping[str, str]], now: datetime, actor: str
) -> list[tuple[Participant, str]]:
    """Expect many people, by pseudonym with their `arm`, `site`, `dyad` and `role`: all or nobody."""
    invited, faults = [], []
    for pseudonym, place in rows.items():
        try:
            arm, site, dyad, role = (place.get(name, "") for name in PLACE)
            invited.append(
                invite(study=study, pseudonym=pseudonym, now=now, actor=actor, arm=arm, site=site, dyad=dyad, role=role)
            )
        except (InvalidPlace, PseudonymTaken) as error:
            faults.append(f"{pseudonym}: {error.detail}")
    if faults:
        raise InvalidPlace(_some(faults) + " Nobody was invited.")
    return invited


@transaction.atomic
def open_study_code(
    *,
    study: Study,
    max_uses: int,
    now: datetime,
    actor: str = "server",
    expires_at: datetime | None = None,
    site: str = "",
) -> str:
    """A code that anybody may use, for a poster or a class: each use makes a new participant, of this site."""
    held = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    states.require(held.state, "invite")
    if faults := place_faults(held.structure, site=site):
        raise InvalidPlace(" ".join(faults))
    code = new_code(
        study=study, participant=None, max_uses=max_uses, expires_at=expires_at, now=now, actor=actor, site=site
    )
    audit.record(
        action="study_code.opened",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={"max_uses": max_uses},
    )
    return code


@transaction.atomic
def record_identity(*, participant: Participant, facts: dict[str, str], actor: str, reason: str = "") -> Identity:
    """Keep who a participant is and how to reach them; an empty text removes what was there. Replacing something that
    was known is a correction and needs a reason."""
    unknown = set(facts) - set(Identity.FIELDS)
    if unknown:
        raise InvalidIdentity(f"{min(unknown)}: is no part of an identity; there are {', '.join(Identity.FIELDS)}.")
    hold(participant)
    identity = Identity.objects.filter(participant=participant).first() or Identity(participant=participant)
    before = {name: getattr(identity, name) or "" for name in facts}
    changed = sorted(name for name, text in facts.items() if text.strip() != before[name])
    if any(before[name] for name in changed) and not reason.strip():
        raise ReasonNeeded("reason: say why this is corrected; it is kept with the change.")
    for name in changed:
        setattr(identity, name, facts[name].strip() or None)
    identity.save()
    audit.record(
        action="identity.recorded",
        actor=actor,
        study_id=participant.study_id,
        about=participant.audit_name,
        changes={"fields": changed},
        reason=reason.strip(),
        person=participant.key_id,
    )
    return identity


@transaction.atomic
def see_identity(*, participant: Participant, actor: str) -> Identity | None:
    """Open an identity for somebody, and leave a trace of who saw it."""
    identity = Identity.objects.filter(participant=participant).first()
    if identity is not None:
        audit.record(action="identity.seen", actor=actor, study_id=participant.study_id, about=participant.audit_name)
    return identity


@transaction.atomic
def revoke_device(*, device: Device, actor: str, reason: str, now: datetime) -> None:
    """Close a phone's credential, the one before its last rotation included: its next call is refused."""
    open_still = Device.objects.filter(pk=device.pk, revoked_at__isnull=True)  # as it is, not as it was read
    open_still.update(revoked_at=now, closed_because=Device.Closed.REVOKED)
    device.refresh_from_db(fields=["revoked_at", "closed_because"])
    audit.record(
        action="device.revoked",
        actor=actor,
        study_id=device.participant.study_id,
        about=device.audit_name,
        reason=reason,
        person=device.participant.key_id,
    )


@transaction.atomic
def enrol_participant(
    *,
    code: str,
    zone: str,
    consent_version: str,
    consented_at: datetime,
    device: dict[str, str],
    now: datetime,
    consent_digest: str = "",
    request_id: UUID | None = None,
) -> Enrolment:
    """Let a phone in. The code's row is held from before it is checked until it is spent: two phones cannot share a single
    use. The same request sent again, since its answer was lost, spends nothing and gets the same phone a new credential."""
    with scopes_disabled():  # which study it is, is what the code tells
        codes = EnrolmentCode.objects.select_for_update(of=("self",)).select_related("study", "participant")
        row = codes.filter(digest=digest_of_code(code)).first()
        if row is None:
            raise CodeNotValid(NOT_VALID)
        repeat = f"{row.digest}:{request_id}" if request_id else ""
        known = _enrolled_before(repeat, now) if repeat else None
        if known is not None:
            return _answered_again(known)
        if not row.open_at(now):
            raise CodeNotValid(NOT_VALID)
        EnrolmentCode.objects.filter(pk=row.pk).update(uses=F("uses") + 1)
    with scope(study=row.study):
        return _enrol(
            row,
            zone=zone,
            consent=(consent_version, consent_digest),
            consented_at=consented_at,
            device={**device, "enrolment_digest": digest_of_secret(repeat) if repeat else None},
            now=now,
        )


def maker_is_open(code: EnrolmentCode) -> bool:
    """A code that a phone made for its successor is worth nothing once that phone is closed: it may have been stolen."""
    if not code.made_by.startswith("device:"):
        return True
    maker = code.made_by.removeprefix("device:")
    return Device.objects.filter(participant=code.participant_id, pk=maker, revoked_at__isnull=True).exists()


def _enrolled_before(repeat: str, now: datetime) -> Device | None:
    """The open phone that this very request let in: who sends it has both the code and the phone's own UUID. For a phone
    that is closed, or after a day, it is spent."""
    found = Device.objects.select_for_update(of=("self",)).select_related("participant__study")
    device = found.filter(enrolment_digest=digest_of_secret(repeat)).first()
    if device and (device.revoked_at is not None or device.created_at <= now - REPEATED_WITHIN):
        raise CodeNotValid(NOT_VALID)
    return device


def _answered_again(device: Device) -> Enrolment:
    return Enrolment(participant=device.participant, device=device, token=renew_credential(device, shown=None))


def renew_credential(device: Device, *, shown: str | None) -> str:
    """Give a phone, whose row is held, a new credential; returns it.

    One that it is sure to have stays good beside it: `shown`, or the newest one that was ever used. So neither an answer
    that is lost nor a request that arrives twice locks it out.
    """
    used = device.old_token_digest is None or device.old_token_until is not None or device.token_digest == shown
    if used:
        device.old_token_digest = device.token_digest
    token = secrets.token_urlsafe(32)
    device.token_digest, device.old_token_until = digest_of_secret(token), None
    device.save(update_fields=["token_digest", "old_token_digest", "old_token_until"])
    return token


def _enrol(
    row: EnrolmentCode,
    *,
    zone: str,
    consent: tuple[str, str],
    consented_at: datetime,
    device: dict[str, str | None],
    now: datetime,
) -> Enrolment:
    study = Study.objects.select_for_update(no_key=True).get(pk=row.study_id)  # it is not paused or ended meanwhile
    states.require(study.state, "enrol_test" if row.participant and row.participant.test_person else "enrol")
    text = _text_agreed_to(study, *consent)
    if row.participant is None:
        participant = _next_participant(study, row.site)
    else:  # held and read anew: an erasure that was asked for meanwhile is not overwritten
        participant = Participant.objects.select_for_update().get(pk=row.participant.pk)
    today = now.astimezone(ZoneInfo(zone)).date()
    if participant.state in {Participant.State.WITHDRAWN, Participant.State.ERASED}:
        raise states.StudyClosed(GONE)
    if not maker_is_open(row):
        raise CodeNotValid(NOT_VALID)
    participant.zone = participant.zone or zone  # a new phone keeps the ledger; its zone comes by PUT device
    participant.first_day = participant.first_day or min(max(today, study.starts_on), study.ends_on)
    participant.last_day = participant.last_day or study.ends_on
    if participant.state == Participant.State.INVITED:  # a new phone ends nobody's pause
        participant.state = Participant.State.ACTIVE
    participant.enrolled_at = participant.enrolled_at or now
    participant.save()
    Consent.objects.create(
        participant=participant,
        version=consent[0],
        digest=text.digest if text else "",
        given_at=consented_at,
        received_at=now,
    )
    replaced = Device.objects.filter(participant=participant, revoked_at__isnull=True).update(
        revoked_at=now, closed_because=Device.Closed.REPLACED
    )
    token = secrets.token_urlsafe(32)
    credential = Device.objects.create(
        participant=participant, token_digest=digest_of_secret(token), zone=zone, created_at=now, **device
    )
    audit.record(
        action="participant.enrolled",
        actor=credential.audit_name,
        study_id=study.pk,
        about=participant.audit_name,
        changes={"phones_replaced": replaced} if replaced else {},
    )
    return Enrolment(participant=participant, device=credential, token=token)


@transaction.atomic
def give_consent(
    *, device: Device, version: str, consented_at: datetime, now: datetime, digest: str = ""
) -> tuple[Consent, bool]:
    """Keep that somebody agreed to the current text; returns whether that is news. Sent twice it is kept once."""
    participant = hold(device.participant)
    text = _text_agreed_to(participant.study, version, digest)
    facts = {"participant": participant, "version": version, "digest": text.digest if text else ""}
    known = Consent.objects.filter(**facts).order_by("pk").first()
    if known is not None:
        return known, False
    consent = Consent.objects.create(**facts, given_at=consented_at, received_at=now)
    audit.record(
        action="participant.consented",
        actor=device.audit_name,
        study_id=participant.study_id,
        about=participant.audit_name,
        changes={"version": version, "digest": consent.digest},
    )
    return consent, True


def _text_agreed_to(study: Study, version: str, digest: str) -> ConsentText | None:
    """The current text, which this version must name, and this digest if there is one; None where the study has no text
    here."""
    text = current_consent_text(study)
    outdated = text is not None and (version != text.version or digest not in {"", text.digest})
    if outdated or (text is None and digest):
        raise ConsentOutdated(version, digest, text)
    return text


@transaction.atomic
def place_participants(*, study: Study, rows: Mapping[str, Mapping[str, str]], actor: str) -> int:
    """Put people, by pseudonym, into an `arm`, `site`, `dyad` and `role`: all or nobody. What a row leaves out stays.
    Whoever is in and changes their arm is asked by it from their next day. Returns how many were moved."""
    held = Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    states.require(held.state, "structure")
    everybody = Participant.objects.select_for_update(no_key=True).filter(study=study).order_by("pk")
    people = {person.pseudonym: person for person in everybody if person.state != Participant.State.ERASED}
    arms = {person.pk: person.arm for person in people.values()}
    faults, moved = [], []
    for pseudonym, row in rows.items():
        unknown = row.keys() - PLACE.keys()
        if unknown:
            faults.append(f"{pseudonym}: {min(unknown)}: is unknown; there are {', '.join(PLACE)}.")
        elif pseudonym not in people:
            faults.append(f"{pseudonym}: nobody here has this pseudonym.")
        else:
            person = people[pseudonym]
            before = _place_of(person)
            for name, value in row.items():
                setattr(person, PLACE[name], value)
            if _place_of(person) != before:
                moved.append(person)
                faults += [f"{pseudonym}: {fault}" for fault in place_faults(held.structure, **_place_of(person))]
    taken = Counter((person.dyad, person.dyad_role) for person in people.values() if person.dyad)
    faults += [
        f"{person.pseudonym}: role: dyad {person.dyad!r} would have {taken[person.dyad, person.dyad_role]} people who "
        f"are {person.dyad_role}."
        for person in moved
        if taken[person.dyad, person.dyad_role] > 1
    ]
    if faults:
        raise InvalidPlace(_some(faults) + " Nobody was moved.")
    Participant.objects.bulk_update(moved, list(PLACE.values()))
    event = audit.record(
        action="participants.placed",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={"people": len(moved), **{name: sum(name in row for row in rows.values()) for name in PLACE}},
    )
    concerned = [person.pk for person in moved if person.enrolled_at and person.arm != arms[person.pk]]
    if concerned:
        ledger.ask_for(
            kind=ARMS_CHANGED, key=f"{study.pk}:{event.number}", payload={"study": study.pk, "people": concerned}
        )
        outbox.ring(ARMS_CHANGED)
    return len(moved)


def _some(faults: list[str]) -> str:
    more = f" And {len(faults) - SHOWN_FAULTS} more." if len(faults) > SHOWN_FAULTS else ""
    return " ".join(faults[:SHOWN_FAULTS]) + more


def _pseudonym_faults(pseudonym: str) -> list[str]:
    seen = pseudonym.isprintable() and pseudonym == pseudonym.strip()
    if 1 <= len(pseudonym) <= LONGEST_PSEUDONYM and seen and "@" not in pseudonym:
        return []
    return [
        f"pseudonym: {pseudonym[:60]!r} must be 1 to {LONGEST_PSEUDONYM} characters that can be seen, without blanks "
        "around them, and no address."
    ]


def _place_of(person: Participant) -> dict[str, str]:
    return {name: getattr(person, field) for name, field in PLACE.items()}


def hold(participant: Participant) -> Participant:
    """The person's row, held until the transaction ends: nothing is stored of somebody who is being erased."""
    held = (
        Participant.objects.select_for_update(no_key=True, of=("self",)).select_related("study").get(pk=participant.pk)
    )
    if held.state == Participant.State.ERASED:
        raise PersonErased("This person was erased; nothing more can be stored about them.")
    return held


def update_device(*, device: Device, facts: dict[str, str]) -> None:
    """Keep what the phone says about itself: platform, versions, zone."""
    for name, value in facts.items():
        setattr(device, name, value)
    device.save(update_fields=list(facts))


@transaction.atomic
def add_test_person(*, study: Study, now: datetime, actor: str, site: str = "") -> tuple[Participant, str]:
    """Somebody who tries the app out: TEST1, TEST2 …; never counted. Returns the code that lets their phone in."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    pseudonym = _free_pseudonym(study, "TEST{}")
    return invite(study=study, pseudonym=pseudonym, now=now, actor=actor, site=site, test_person=True)


def new_code(
    *,
    study: Study,
    participant: Participant | None,
    now: datetime,
    actor: str,
    max_uses: int = 1,
    expires_at: datetime | None = None,
    site: str = "",
    new_phone: bool = False,
) -> str:
    """Make a code within the limits; its text exists in the answer alone. Who calls this holds the person, or the study."""
    until = expires_at or now + CODE_LIFETIME
    faults = []
    if not 1 <= max_uses <= MOST_USES:
        faults.append(f"uses: {max_uses} is out of range; 1 to {MOST_USES:,} phones may use a code.")
    if not now < until <= now + LONGEST_LIFETIME:
        last = (now + LONGEST_LIFETIME).date()
        faults.append(
            f"expires: {until:%Y-%m-%d %H:%M} UTC is out of range; a code ends after now and by {last}, within a year."
        )
    if faults:
        raise InvalidCode(" ".join(faults))
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    EnrolmentCode.objects.create(
        study=study,
        participant=participant,
        digest=digest_of_code(code),
        max_uses=max_uses,
        expires_at=until,
        site=site,
        new_phone=new_phone,
        made_at=now,
        made_by=actor,
    )
    return code


def _next_participant(study: Study, site: str) -> Participant:
    """P001, P002 … in order of enrolment; the study's row is held, so that two phones get two numbers."""
    return Participant.objects.create(study=study, pseudonym=_free_pseudonym(study, "P{:03d}"), site=site)


def _free_pseudonym(study: Study, pattern: str) -> str:
    taken = set(study.participants.values_list("pseudonym", flat=True))
    return next(name for n in range(1, len(taken) + 2) if (name := pattern.format(n)) not in taken)

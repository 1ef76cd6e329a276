"""Inviting, enrolling, and what a phone may change about itself."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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
CODE_LENGTH = 10  # 50 bits, single use, short-lived
CODE_LIFETIME = timedelta(days=30)
SHOWN_FAULTS = 20
ARMS_CHANGED = "arms_changed"  # the kind of its jobs: what is asked of whom may depend on their arm


class CodeNotValid(DomainError):
    """Unknown, used up, expired: one answer for all, so that nobody can probe for codes."""

    code = "code_not_valid"


class ConsentOutdated(DomainError):
    """The phone showed another text than the one that holds; `more` carries the one that does, to be shown."""

    code = "consent_outdated"

    def __init__(self, sent: str, text: ConsentText) -> None:
        super().__init__(
            f"consent.version: {sent!r} is not the current version, which is {text.version!r}. Show its text, and ask anew."
        )
        self.more = {"consent": {"version": text.version, "digest": text.digest, "texts": text.texts}}


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
    """Of a code that people type: short enough to be tried through, so the digest is keyed."""
    return keyed_digest(code.strip().upper().encode(), key=server_key("enrolment codes"))


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
    return participant, _new_code(study=study, participant=participant, max_uses=1, now=now)


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
def open_study_code(*, study: Study, max_uses: int, now: datetime, actor: str = "server") -> str:
    """A code that anybody may use, for a poster or a class: each use makes a new participant."""
    states.require(Study.objects.select_for_update(no_key=True).get(pk=study.pk).state, "invite")
    audit.record(
        action="study_code.opened",
        actor=actor,
        study_id=study.pk,
        about=f"study:{study.pk}",
        changes={"max_uses": max_uses},
    )
    return _new_code(study=study, participant=None, max_uses=max_uses, now=now)


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
    """Close a phone's credential: its next call is refused."""
    device.revoked_at = device.revoked_at or now
    device.save(update_fields=["revoked_at"])
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
    *, code: str, zone: str, consent_version: str, consented_at: datetime, device: dict[str, str], now: datetime
) -> Enrolment:
    """Let a phone in. The code is spent in the same statement that checks it: two phones cannot share a single use."""
    with scopes_disabled():  # which study it is, is what the code tells
        codes = EnrolmentCode.objects.filter(digest=digest_of_code(code))
        if not codes.filter(uses__lt=F("max_uses"), expires_at__gt=now).update(uses=F("uses") + 1):
            raise CodeNotValid("This code is unknown, used up or expired. Ask the study team for a new one.")
        row = codes.select_related("study", "participant").get()
    with scope(study=row.study):
        return _enrol(row, zone=zone, version=consent_version, consented_at=consented_at, device=device, now=now)


def _enrol(
    row: EnrolmentCode, *, zone: str, version: str, consented_at: datetime, device: dict[str, str], now: datetime
) -> Enrolment:
    study = Study.objects.select_for_update(no_key=True).get(pk=row.study_id)  # it is not paused or ended meanwhile
    states.require(study.state, "enrol_test" if row.participant and row.participant.test_person else "enrol")
    text = _text_agreed_to(study, version)
    if row.participant is None:
        participant = _next_participant(study)
    else:  # held and read anew: an erasure that was asked for meanwhile is not overwritten
        participant = Participant.objects.select_for_update().get(pk=row.participant.pk)
    today = now.astimezone(ZoneInfo(zone)).date()
    if participant.state in {Participant.State.WITHDRAWN, Participant.State.ERASED}:
        raise states.StudyClosed("This person has left the study; a new invitation is needed.")
    participant.zone = participant.zone or zone  # a second phone keeps the ledger; its zone comes by PUT device
    participant.first_day = participant.first_day or min(max(today, study.starts_on), study.ends_on)
    participant.last_day = participant.last_day or study.ends_on
    if participant.state != Participant.State.PAUSED:  # another phone ends nobody's pause
        participant.state = Participant.State.ACTIVE
    participant.enrolled_at = participant.enrolled_at or now
    participant.save()
    Consent.objects.create(
        participant=participant,
        version=version,
        digest=text.digest if text else "",
        given_at=consented_at,
        received_at=now,
    )
    token = secrets.token_urlsafe(32)
    credential = Device.objects.create(
        participant=participant, token_digest=digest_of_secret(token), zone=zone, created_at=now, **device
    )
    audit.record(
        action="participant.enrolled", actor=credential.audit_name, study_id=study.pk, about=participant.audit_name
    )
    return Enrolment(participant=participant, device=credential, token=token)


@transaction.atomic
def give_consent(*, device: Device, version: str, consented_at: datetime, now: datetime) -> tuple[Consent, bool]:
    """Keep that somebody agreed to the current text; returns whether that is news. Sent twice it is kept once."""
    participant = hold(device.participant)
    text = _text_agreed_to(participant.study, version)
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


def _text_agreed_to(study: Study, version: str) -> ConsentText | None:
    """The current text, which this version must name; None where the study has no text here."""
    text = current_consent_text(study)
    if text is not None and version != text.version:
        raise ConsentOutdated(version, text)
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


def _new_code(*, study: Study, participant: Participant | None, max_uses: int, now: datetime) -> str:
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    EnrolmentCode.objects.create(
        study=study,
        participant=participant,
        digest=digest_of_code(code),
        max_uses=max_uses,
        expires_at=now + CODE_LIFETIME,
    )
    return code


def _next_participant(study: Study) -> Participant:
    """P001, P002 … in order of enrolment; the study's row is held, so that two phones get two numbers."""
    return Participant.objects.create(study=study, pseudonym=_free_pseudonym(study, "P{:03d}"))


def _free_pseudonym(study: Study, pattern: str) -> str:
    taken = set(study.participants.values_list("pseudonym", flat=True))
    return next(name for n in range(1, len(taken) + 2) if (name := pattern.format(n)) not in taken)

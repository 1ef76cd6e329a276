"""What people changed: append-only, chained, written in the transaction of the change itself.

Each study has its own chain, the server one more. An event's hash is an HMAC over its content and the hash before it,
under a key that is not in this database: who can write here but has not that key can neither alter nor remove an event
unseen. The end of each chain is anchored in the key store every hour, so that cutting a chain's end shows as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django_scopes import scopes_disabled

from ema_server.common import clock
from ema_server.common.canonical import canonical_json
from ema_server.common.errors import DomainError
from ema_server.ledger import services as ledger
from ema_server.ledger.models import AuditChain, AuditEvent, Job
from ema_server.vault.models import Anchor
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import server_key

CLOCK_TOLERANCE = timedelta(seconds=5)  # what time servers correct; more is a wrong clock
START = "0" * 64
ANCHORS = "audit anchors"


class ClockRanBackwards(DomainError):
    code = "clock_ran_backwards"
    status = 503


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a chain does not hold, in words."""

    chain: str
    number: int
    detail: str


def record(
    *,
    action: str,
    actor: str,
    study_id: int | None,
    about: str,
    changes: dict[str, Any] | None = None,
    reason: str = "",
    person: UUID | None = None,
) -> AuditEvent:
    """Write one event, in the transaction of what it records. A reason is sealed under the person's key (`person`) or
    the server's; `changes` is readable for ever and holds no identity, no free text and no secret."""
    if not connection.in_atomic_block:
        raise RuntimeError(f"{action}: an audit event belongs into the transaction of what it records.")
    chain = _locked(study_id)
    at = _moment(chain)
    event = AuditEvent(
        study_id=study_id,
        chain=chain.name,
        number=chain.length + 1,
        at=at,
        actor=actor,
        action=action,
        about=about,
        changes=_as_stored(changes or {}),
        person=person,
        previous=chain.head,
    )
    if reason:
        field = AuditEvent._meta.get_field("reason")
        event.__dict__["reason"] = field.sealed(reason, event.seal)
    key = server_key("audit")
    event.hash = _hash(event, key)
    event.save(force_insert=True)
    chain.length, chain.head, chain.last_at = event.number, event.hash, at
    chain.proof = _proof(chain, key)
    chain.save()
    return event


def chains() -> list[str]:
    """Every chain that is known to any of the places that keep one, so that none can vanish whole."""
    with scopes_disabled():
        names = set(AuditEvent.objects.values_list("chain", flat=True).distinct())
    names |= set(AuditChain.objects.values_list("name", flat=True))
    names |= set(Anchor.objects.values_list("chain", flat=True).distinct())
    return sorted(names)


def verify(chain: str) -> list[Fault]:
    """What does not hold in a chain; an empty list if nobody has altered anything."""
    with scopes_disabled():
        return list(_faults(chain))


@transaction.atomic
def anchor_chains(*, now: datetime) -> int:
    """Keep the end of every chain in the key store as well; returns how many chains there are."""
    chains = list(AuditChain.objects.all())
    for chain in chains:
        Anchor.objects.get_or_create(
            chain=chain.name, length=chain.length, head=chain.head, defaults={"anchored_at": now}
        )
    return len(chains)


def supersede_anchors() -> None:
    """After a restore: the ends that the restored chains have not reached no longer bind. They stay, with the moment,
    in the key store, where who can only write to the database cannot put them."""
    with scopes_disabled():
        for anchor in Anchor.objects.filter(superseded_at__isnull=True, length__gt=0):
            if not AuditEvent.objects.filter(chain=anchor.chain, number=anchor.length, hash=anchor.head).exists():
                Anchor.objects.filter(pk=anchor.pk).update(superseded_at=clock.now())


def ask_for_anchors(*, now: datetime) -> None:
    """Make sure that this hour's ends of the chains are anchored: what is younger can be cut off unseen."""
    ledger.ask_for(kind=ANCHORS, key=f"{now.astimezone(UTC):%Y-%m-%dT%H}", payload={})


def anchor_for(job: Job) -> None:
    """What the outbox calls."""
    anchor_chains(now=clock.now())


def chain_name(study_id: int | None) -> str:
    return "server" if study_id is None else f"study {study_id}"


def _as_stored(changes: dict[str, Any]) -> dict[str, Any]:
    """As the database gives it back, keys as texts: what is hashed now must be what is read later. It spells some
    floating-point numbers in another way (1e22, −0.0), so those are not for a trail: write the text."""
    plain: dict[str, Any] = json.loads(canonical_json(changes), parse_float=_no_float)
    return plain


def _no_float(text: str) -> None:
    raise TypeError(f"changes: {text} is a floating-point number; write it as a text.")


def _locked(study_id: int | None) -> AuditChain:
    """The chain's end, held until the transaction ends: two events never get one number."""
    name = chain_name(study_id)
    AuditChain.objects.get_or_create(name=name, defaults={"head": START})
    return AuditChain.objects.select_for_update().get(name=name)


def _moment(chain: AuditChain) -> datetime:
    now, last = clock.now(), chain.last_at
    if last is None or now >= last:
        return now
    if last - now <= CLOCK_TOLERANCE:
        return last
    raise ClockRanBackwards(
        f"This server's clock says {now:%Y-%m-%d %H:%M:%S} UTC, but its last event was written at "
        f"{last:%Y-%m-%d %H:%M:%S} UTC. Nothing was changed. Set the clock (a time server does it), then try again."
    )


def _faults(name: str) -> Iterator[Fault]:
    key = server_key("audit")
    number, previous = 0, START
    before = AuditChain.objects.filter(name=name).first()
    anchors = {each.length: each.head for each in Anchor.objects.filter(chain=name, superseded_at__isnull=True)}
    for event in AuditEvent.objects.filter(chain=name).order_by("number", "id").iterator():
        number += 1
        if event.number != number:
            yield Fault(name, number, f"event {number} is missing; the next one is numbered {event.number}.")
            return
        if event.previous != previous:
            yield Fault(name, number, f"event {number} does not follow from the one before it.")
        if event.hash != _hash(event, key):
            yield Fault(name, number, f"event {number} is not what was written.")
        if anchors.pop(number, event.hash) != event.hash:
            yield Fault(name, number, f"event {number} is not the one that was anchored in the key store.")
        previous = event.hash
        if before is not None and number == before.length and event.hash != before.head:
            yield Fault(name, number, f"event {number} is not the one with which the chain ended.")
    if number == 0 and not anchors and not AuditChain.objects.filter(name=name).exists():
        return
    yield from _end_faults(name, number, previous, anchors, before, key)


def _end_faults(
    name: str, number: int, head: str, anchors: dict[int, str], before: AuditChain | None, key: bytes
) -> Iterator[Fault]:
    """The events were read in one look; while people work the chain may have grown since, or just before. `before` is
    its end as it was then: the events that were read must reach from it up to its end now, or less."""
    chain = AuditChain.objects.filter(name=name).first()
    ended = before.length if before is not None else 0
    if chain is None:
        yield Fault(name, number, "the record of this chain's end is missing.")
    elif not ended <= number <= chain.length or (chain.length == number and chain.head != head):
        yield Fault(name, number, f"the chain ends with event {number}, but {chain.length} were written.")
    elif any(each is not None and each.proof != _proof(each, key) for each in (before, chain)):
        yield Fault(name, number, "the record of this chain's end is not what was written.")
    for length in anchors:
        if length > 0:
            yield Fault(name, length, f"event {length} was anchored in the key store and is missing here.")


def _hash(event: AuditEvent, key: bytes) -> str:
    content = {
        "study": event.study_id,
        "chain": event.chain,
        "number": event.number,
        "at": event.at.astimezone(UTC).isoformat(),
        "actor": event.actor,
        "action": event.action,
        "about": event.about,
        "changes": event.changes,
        "person": str(event.person) if event.person else None,
        "reason": bytes(event.__dict__["reason"]).hex() if event.__dict__.get("reason") else None,
        "previous": event.previous,
    }
    return keyed_digest(canonical_json(content), key=key)


def _proof(chain: AuditChain, key: bytes) -> str:
    last = chain.last_at.astimezone(UTC).isoformat() if chain.last_at else None
    return keyed_digest(canonical_json([chain.name, chain.length, chain.head, last]), key=key)

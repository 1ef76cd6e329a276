"""Who does which work, and the doing. A room registers its kinds in its `apps.ready()`; a worker runs what is due.

    outbox.handles("mail", "ema_server.accounts.services.send_mail", queue="celery")

Short effects on the database run in the transaction that finishes their row: exactly once. Long or outside effects
run beside a heartbeat that keeps the lease, and must be idempotent by the job's key: a worker may die after the effect.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import current_app
from django.db import InterfaceError, OperationalError, transaction
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from ema_server.ledger import services
from ema_server.ledger.heartbeat import heartbeat
from ema_server.ledger.models import Job

logger = logging.getLogger(__name__)

SWEEP = "ema_server.ledger.tasks.sweep"
RING_IS_STALE_AFTER = 60  # seconds: a sweep comes every 30
BROKER_IS_LEFT_ALONE_FOR = 10.0  # seconds after it did not answer, so that a broker that hangs slows no request down


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of work is done."""

    kind: str
    run: Callable[[Job], object] | str
    queue: str = "celery"
    lease: timedelta = services.LEASE
    in_transaction: bool = False
    max_attempts: int = services.MAX_ATTEMPTS
    at_most: timedelta = timedelta(hours=6)

    def __call__(self, job: Job) -> None:
        run: Callable[[Job], object] = import_string(self.run) if isinstance(self.run, str) else self.run
        run(job)


_handlers: dict[str, Handler] = {}
_broker_back_at = 0.0


class LeaseLost(Exception):
    """Another worker has taken this work over; what this one did is not recorded."""


def handles(
    kind: str,
    run: Callable[[Job], object] | str,
    *,
    queue: str = "celery",
    lease: timedelta = services.LEASE,
    in_transaction: bool = False,
    max_attempts: int = services.MAX_ATTEMPTS,
    at_most: timedelta = timedelta(hours=6),
) -> None:
    """Register who does a kind of work: a function of the job, or its dotted name (imported when first needed).

    `at_most`: after this the heartbeat stops, so that work which hangs is taken over and in the end buried.
    """
    known = _handlers.get(kind)
    handler = Handler(kind, run, queue, lease, in_transaction, max_attempts, at_most)
    if known is not None and known != handler:
        raise ValueError(f"The kind {kind!r} is handled by {known.run!r} already; give {run!r} a kind of its own.")
    _handlers[kind] = handler


def handler_of(kind: str) -> Handler:
    try:
        return _handlers[kind]
    except KeyError:
        known = ", ".join(sorted(_handlers)) or "none"
        raise LookupError(
            f"Nobody handles {kind!r} (registered: {known}); call outbox.handles in apps.ready()."
        ) from None


def kinds() -> list[str]:
    return sorted(_handlers)


def is_handled(kind: str) -> bool:
    return kind in _handlers


def ring(kind: str) -> None:
    """Wake a worker once this transaction is committed. A broker that is away costs up to 30 s, never the request."""
    queue = handler_of(kind).queue
    transaction.on_commit(lambda: _wake(queue), robust=True)


def run_due(*, queue: str) -> int:
    """Do whatever is due on this queue, kind by kind in turn; one that fails stops no other. Returns how many are done."""
    done, found = 0, True
    while found:
        found = False
        for handler in [handler for handler in _handlers.values() if handler.queue == queue]:
            try:
                job = run_next(kind=handler.kind)
            except (OperationalError, InterfaceError) as error:  # leases run out; a later sweep goes on
                logger.warning("the database is away (%s): the next sweep goes on", type(error).__name__)
                return done
            except Exception:
                found = True  # written down and logged by run_next
            else:
                found |= job is not None
                done += job is not None
    return done


def run_next(*, kind: str, now: datetime | None = None, key: str | None = None) -> Job | None:
    """Claim one due row and do it; None if none waits. What fails is written down, logged, and raised."""
    handler = handler_of(kind)
    job = services.claim(kind=kind, now=now, key=key, lease=handler.lease, max_attempts=handler.max_attempts)
    if job is None:
        return None
    try:
        _do(handler, job)
    except LeaseLost:
        logger.warning("%s %s: the lease was lost; another worker has it", job.kind, job.key)
        raise
    except Exception as error:
        logger.error("%s %s failed at attempt %d", job.kind, job.key, job.attempts, exc_info=error)
        services.fail(job, error, max_attempts=handler.max_attempts)
        raise
    return job


def _do(handler: Handler, job: Job) -> None:
    if handler.in_transaction:
        with transaction.atomic():
            if not services.take_hold(job):
                raise LeaseLost
            handler(job)
            services.finish(job)
        return
    with heartbeat(job, lease=handler.lease, at_most=handler.at_most):
        handler(job)
    if not services.finish(job):
        raise LeaseLost


def _wake(queue: str) -> None:
    global _broker_back_at
    if time.monotonic() < _broker_back_at:
        return
    try:
        current_app.send_task(SWEEP, args=[queue], queue=queue, expires=RING_IS_STALE_AFTER, retry=False)
    except (BrokerError, RedisError, OSError) as error:
        _broker_back_at = time.monotonic() + BROKER_IS_LEFT_ALONE_FOR
        logger.warning("the broker is away (%s): the next sweep will find the work", type(error).__name__)

"""Wrong codes from one address are counted, right ones are not: a class behind one address comes in, a guesser does not.

A code has 50 bits. With these limits an address tries 43,200 a day, one chance in 26 thousand million for each open code.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError

from ema_server.accounts.guesses import address_of
from ema_server.common import clock
from ema_server.common.errors import DomainError
from ema_server.participants.services import CodeNotValid, digest_of_code
from ema_server.vault.sealing import keyed_digest
from ema_server.vault.services import server_key

logger = logging.getLogger(__name__)

WRONG_CODES: Final = 300  # different ones, from one address in one window
WINDOW_SECONDS: Final = 600


class TooManyWrongCodes(DomainError):
    code = "throttled"
    status = 429

    def __init__(self, wait: int) -> None:
        super().__init__(
            f"{WRONG_CODES} wrong codes came from this address in {WINDOW_SECONDS // 60} minutes. Try again in {wait} seconds."
        )
        self.more = {"limit": WRONG_CODES, "window_seconds": WINDOW_SECONDS, "retry_after_seconds": wait}
        self.retry_after = wait


@contextmanager
def counting_wrong_codes(request: HttpRequest, code: str) -> Iterator[None]:
    """Around what looks a code up. The same wrong code counts once: a phone that repeats itself shuts nobody else out.

    Where the cache is away nothing is counted and everybody who has a code comes in.
    """
    second = int(clock.now().timestamp())
    window, left = second // WINDOW_SECONDS, WINDOW_SECONDS - second % WINDOW_SECONDS
    address = keyed_digest((address_of(request) or "").encode(), key=server_key("enrolment throttle"))[:32]
    counter = f"wrong-codes:{window}:{address}"
    if _counted(counter) >= WRONG_CODES:
        raise TooManyWrongCodes(left)
    try:
        yield
    except CodeNotValid:
        _count(counter, digest_of_code(code))
        raise


def _counted(counter: str) -> int:
    try:
        return int(cache.get(counter, 0))
    except (RedisError, OSError):
        logger.warning("the cache is away; wrong codes are not counted")
        return 0


def _count(counter: str, code: str) -> None:
    try:
        if cache.add(f"{counter}:{code}", 1, timeout=WINDOW_SECONDS):
            cache.add(counter, 0, timeout=2 * WINDOW_SECONDS)
            cache.incr(counter)  # in the cache itself: attempts in parallel gain nothing
    except (RedisError, OSError, ValueError):
        logger.warning("the cache is away; a wrong code was not counted")

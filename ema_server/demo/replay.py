"""Many phones at once, through the HTTP API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, time
from random import Random
from time import sleep

import httpx

from ema_server.demo.phone import Phone
from ema_server.demo.services import Invited

PHONES_AT_ONCE = 4


def replay(
    study: str, invited: Sequence[Invited], *, address: str, each: Callable[[], None] = lambda: None
) -> Counter[str]:
    """Let every invited person's phone enrol, sync and upload; returns how many receipts of each kind came back."""
    receipts: Counter[str] = Counter()
    with httpx.HTTPTransport(trust_env=False) as http, ThreadPoolExecutor(PHONES_AT_ONCE) as pool:
        running = [pool.submit(_one_phone, study, each_invited, http, address) for each_invited in invited]
        try:
            for done in as_completed(running):
                receipts.update(done.result())
                each()
        except BaseException:  # Ctrl-C or a refusal: the phones that wait need not start
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return receipts


def _one_phone(study: str, invited: Invited, http: httpx.BaseTransport, address: str) -> Counter[str]:
    person = invited.person
    phone = Phone(
        http=http,
        address=address,
        study=study,
        code=invited.code,
        zone=person.zone,
        consented_at=datetime.combine(person.first_day, time(8), UTC).isoformat(),
        rng=Random(f"{study}|{person.pseudonym}"),
        wait=sleep,
    )
    phone.enrol()
    sync = phone.sync()
    phone.upload(person.happenings(sync.prompts), sync)
    return phone.receipts

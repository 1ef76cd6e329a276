"""Making, using, rotating and destroying keys. Nobody else touches the key store."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import ProgrammingError, transaction

from ema_server.common.errors import DomainError
from ema_server.vault import sealing
from ema_server.vault.models import DataKey, Erasure, MasterKey, Store
from ema_server.vault.router import KEYS

SERVER = UUID(int=0)  # the owner of what belongs to no study
_PROOF = b"the master key that seals this is the right one"
_held: ContextVar[dict[UUID, bytes] | None] = ContextVar("held_keys", default=None)
_binds: Callable[[UUID | None], UUID | None] | None = None
LATELY = 60.0  # seconds
_lately: dict[UUID, tuple[float, bytes]] = {}  # when each was fetched; at most those of a minute
_store_was_checked = False  # by this process: another store comes with another KEYS_DATABASE_URL, so with a new start


class KeyStoreFault(DomainError):
    """Nothing may be written or read before an operator has mended this."""

    status = 503


class WrongMasterKey(KeyStoreFault):
    code = "wrong_master_key"


class KeyStoreMissing(KeyStoreFault):
    code = "key_store_missing"


class KeyDestroyed(DomainError):
    """The person was erased: nothing opens what their key had sealed."""

    code = "erased"
    status = 410


def seal(plain: bytes, *, owner: UUID | None, context: str) -> bytes:
    """Seal under the owner's key (None: the server's), which is made at its first use."""
    owner = owner or SERVER
    return sealing.seal(plain, key=sealing.derived(_key(owner, make=True), "seal"), key_id=owner, context=context)


def unseal(sealed: bytes, *, context: str) -> bytes:
    """Open what `seal` made in the same context. Raises KeyDestroyed, WrongMasterKey or CannotOpen."""
    owner = sealing.key_id_of(sealed)
    return sealing.unseal(sealed, key=sealing.derived(_key(owner, make=False), "seal"), context=context)


def owner_key(owner: UUID | None, purpose: str) -> bytes:
    """A stable key of this owner (None: the server) for one purpose, such as keyed digests."""
    return sealing.derived(_key(owner or SERVER, make=True), purpose)


def server_key(purpose: str) -> bytes:
    """A stable key of the whole server for one purpose."""
    return owner_key(None, purpose)


@contextmanager
def holding_keys(*, lately: UUID | None = None) -> Iterator[None]:
    """Inside the block each key is fetched and unwrapped once: for a batch, an export, a night. Never wider, but for one.

    The key of `lately` may be one that this process fetched within the last `LATELY` seconds. Its owner may have been
    erased meanwhile: whoever asks for it makes sure of them in the statement that stores what it sealed.
    """
    now = time.monotonic()
    fetched, key = _lately.get(lately, (0.0, b"")) if lately else (0.0, b"")
    held = {lately: key} if lately and now - fetched < LATELY else dict[UUID, bytes]()
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        kept = now - fetched < LATELY or transaction.get_connection(KEYS).in_atomic_block  # or may be undone yet
        if lately and lately in held and not kept:
            _forget_old(now)
            _lately[lately] = (now, held[lately])


def _forget_old(now: float) -> None:
    for owner, (fetched, _) in list(_lately.items()):
        if now - fetched >= LATELY:
            _lately.pop(owner, None)


def make_keys(*, owners: Iterable[UUID]) -> None:
    """New keys for many at once who have none yet, such as all people of an imported study. Inside `holding_keys` they are
    held already."""
    check_store()
    master, held = _newest_master(), _held.get()
    plain = {owner: sealing.new_key() for owner in owners}
    DataKey.objects.bulk_create(
        [
            DataKey(owner=owner, master=master, wrapped=_wrap(key, owner=owner, master=master))
            for owner, key in plain.items()
        ],
        batch_size=1_000,
    )
    if held is not None:
        held.update(plain)


def destroy_key(*, owner: UUID, now: datetime) -> None:
    """Write the owner into the register of erasures and destroy their key. Done twice it is done once."""
    _append_to_register_file(owner, now)
    Erasure.objects.get_or_create(
        owner=owner, defaults={"erased_at": now}
    )  # seen by all before the key goes: see `_made`
    DataKey.objects.filter(owner=owner).delete()
    _lately.pop(owner, None)


def discard_keys(*, owners: Iterable[UUID]) -> None:
    """Remove keys whose rows are gone already, such as the demo's of an earlier run. Erasing a person is `destroy_key`."""
    DataKey.objects.filter(owner__in=list(owners)).delete()


def erased_owners() -> dict[UUID, datetime]:
    """The register: the store's own rows, and the file beside it, which outlives a store that was restored."""
    found = dict(Erasure.objects.values_list("owner", "erased_at"))
    for line in _register_lines():
        found.setdefault(UUID(line["owner"]), datetime.fromisoformat(line["erased_at"]))
    return found


def rotate_master_key(*, batch: int = 500) -> int:
    """Wrap every data key with the newest master key, some at a time, while the service runs; returns how many."""
    newest = _newest_master()
    _prove_master(newest)
    rewrapped = 0
    while True:
        with transaction.atomic(using=KEYS):
            rows = list(DataKey.objects.select_for_update(skip_locked=True).exclude(master=newest)[:batch])
            if not rows:
                return rewrapped
            for row in rows:
                plain = _unwrap(row)
                row.master, row.wrapped = newest, _wrap(plain, owner=row.owner, master=newest)
            DataKey.objects.bulk_update(rows, ["master", "wrapped"])
        rewrapped += len(rows)


def check_store() -> UUID:
    """The store's name, once it is the one that belongs to the main database and every master key that it needs is
    proven right. Raises KeyStoreMissing or WrongMasterKey."""
    store = _own_store()
    for known in MasterKey.objects.all():
        if known.number in settings.MASTER_KEYS:
            _open_proof(known)
        elif DataKey.objects.filter(master=known.number).exists():
            raise WrongMasterKey(_left_out(known.number))
    _prove_master(_newest_master())
    return store


def bound_by(binds: Callable[[UUID | None], UUID | None]) -> None:
    """Register where the main database keeps the name of its key store: called with None it says which it knows, called
    with a name it keeps that one if it knows none."""
    global _binds
    _binds = binds


def _own_store() -> UUID:
    """The store's name. Raises KeyStoreMissing, with nothing written, if the main database belongs to another store: an
    empty one put in the lost one's place would else fill with new keys, and nothing would fit together again."""
    try:
        store = Store.objects.first()
    except ProgrammingError as error:
        raise KeyStoreMissing(_no_tables()) from error
    expected = _binds(None) if _binds else None
    if expected is None:
        store = store or Store.objects.get_or_create(only=True)[0]
        expected = (_binds(store.id) if _binds else None) or store.id
    if store is None or store.id != expected:
        what = "is empty" if store is None else f"is {store.id}"
        raise KeyStoreMissing(
            f"This database belongs to the key store {expected}, but the one that is set {what}. Nothing was changed. Set "
            "KEYS_DATABASE_URL to the store that belongs here. If it was lost, restore both from their backups: "
            "manage.py restore FILE --keys FILE."
        )
    return store.id


def _key(owner: UUID, *, make: bool) -> bytes:
    global _store_was_checked
    held = _held.get()
    if held is not None and owner in held:
        return held[owner]
    if not _store_was_checked:
        _own_store()
        _store_was_checked = True
    try:
        row = DataKey.objects.filter(owner=owner).first()
    except ProgrammingError as error:
        raise KeyStoreMissing(_no_tables()) from error
    if row is None:
        row = _made(owner) if make else None
    if row is None:
        if Erasure.objects.filter(owner=owner).exists():
            raise KeyDestroyed("This person was erased; what their key had sealed cannot be read any more.")
        raise KeyStoreMissing(
            f"The key store holds no key {owner}, and it was not erased. Is KEYS_DATABASE_URL the store that belongs to "
            "this database? If it was lost, restore it: manage.py restore --keys FILE."
        )
    plain = _unwrap(row)
    if held is not None:
        held[owner] = plain
    return plain


def _made(owner: UUID) -> DataKey:
    """A new key, unless its owner was erased. Two who need it at once get the same one."""
    if Erasure.objects.filter(owner=owner).exists():
        raise KeyDestroyed("This person was erased; nothing more can be stored about them.")
    _own_store()
    master = _newest_master()
    _prove_master(master)
    wrapped = _wrap(sealing.new_key(), owner=owner, master=master)
    row, _ = DataKey.objects.get_or_create(owner=owner, defaults={"master": master, "wrapped": wrapped})
    if Erasure.objects.filter(owner=owner).exists():  # written down meanwhile: `destroy_key` may not have seen this key
        DataKey.objects.filter(owner=owner).delete()
        raise KeyDestroyed("This person was erased; nothing more can be stored about them.")
    return row


def _newest_master() -> int:
    number: int = next(iter(settings.MASTER_KEYS))
    return number


def _prove_master(number: int) -> None:
    """A master key that is used for the first time leaves a proof; later one under the same number must open it."""
    proof = sealing.seal(_PROOF, key=settings.MASTER_KEYS[number], key_id=SERVER, context=f"master|{number}")
    known, _ = MasterKey.objects.get_or_create(number=number, defaults={"proof": proof})
    _open_proof(known)


def _open_proof(known: MasterKey) -> None:
    try:
        sealing.unseal(bytes(known.proof), key=settings.MASTER_KEYS[known.number], context=f"master|{known.number}")
    except sealing.CannotOpen as error:
        raise WrongMasterKey(_wrong(known.number)) from error


def _wrap(plain: bytes, *, owner: UUID, master: int) -> bytes:
    return sealing.seal(plain, key=settings.MASTER_KEYS[master], key_id=owner, context=f"data-key|{master}")


def _unwrap(row: DataKey) -> bytes:
    master = settings.MASTER_KEYS.get(row.master)
    if master is None:
        raise WrongMasterKey(_left_out(row.master))
    try:
        if sealing.key_id_of(bytes(row.wrapped)) != row.owner:
            raise sealing.CannotOpen("this key was wrapped for another owner")
        return sealing.unseal(bytes(row.wrapped), key=master, context=f"data-key|{row.master}")
    except sealing.CannotOpen as error:
        raise WrongMasterKey(_wrong(row.master)) from error


def _left_out(number: int) -> str:
    return (
        f"EMA_MASTER_KEY has no key number {number}, which wraps keys in the store. Keep the old key beside the new one "
        "(2:…,1:…) until manage.py rotate_keys has ended and no process uses the old one any more; if one has made keys "
        "since, run rotate_keys again."
    )


def _no_tables() -> str:
    return (
        "The key store has no tables: KEYS_DATABASE_URL names an empty database. Set it to the store that belongs to this "
        "database; on a new server, run manage.py upgrade."
    )


def _wrong(number: int) -> str:
    return (
        f"EMA_MASTER_KEY number {number} is not the key that sealed this key store. Nothing was changed. "
        "Set the key that was in use, or point KEYS_DATABASE_URL at the store that belongs to it."
    )


def _register_file() -> Path:
    return Path(settings.VAR) / "erasures.jsonl"


def _append_to_register_file(owner: UUID, now: datetime) -> None:
    path = _register_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"owner": str(owner), "erased_at": now.astimezone(UTC).isoformat()})
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(f"\n{line}\n".encode())  # on a line of its own, whatever a full disk left before it
        file.flush()
        os.fsync(file.fileno())


def _register_lines() -> list[dict[str, str]]:
    try:
        text = _register_file().read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]  # a torn line is no entry

"""Sealed values: readable with the right key in the right place, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client

from ema_server.common import clock
from ema_server.participants.models import Identity, Participant
from ema_server.participants.services import record_identity
from ema_server.vault import sealing, services
from ema_server.vault.models import DataKey, Erasure, MasterKey, Store
from tests.world import live_study, researcher

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_register(settings: Any, tmp_path: Path) -> None:
    settings.VAR = tmp_path


@pytest.fixture
def master(settings: Any) -> Any:
    """A key store that knows no master key yet, and master keys of this test's own."""
    DataKey.objects.all().delete()
    MasterKey.objects.all().delete()
    settings.MASTER_KEYS = {1: sealing.new_key()}
    return settings.MASTER_KEYS


def test_what_is_sealed_opens_in_its_own_place_alone() -> None:
    owner = uuid4()
    sealed = services.seal(b"Jo", owner=owner, context="table.column|row 1|study 1")
    assert services.unseal(sealed, context="table.column|row 1|study 1") == b"Jo"
    for elsewhere in ("table.column|row 2|study 1", "table.column|row 1|study 2", "table.other|row 1|study 1"):
        with pytest.raises(sealing.CannotOpen):
            services.unseal(sealed, context=elsewhere)


def test_the_same_text_is_never_sealed_alike() -> None:
    owner = uuid4()
    assert len({services.seal(b"no", owner=owner, context="c") for _ in range(50)}) == 50


def test_every_altered_byte_is_noticed() -> None:
    key, sealed = sealing.new_key(), b""
    sealed = sealing.seal(b"an answer", key=key, key_id=uuid4(), context="c")
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1
        with pytest.raises(sealing.CannotOpen):
            sealing.unseal(bytes(altered), key=key, context="c")
    for cut in range(len(sealed)):
        with pytest.raises(sealing.CannotOpen):
            sealing.unseal(sealed[:cut], key=key, context="c")


def test_a_sealed_column_is_ciphertext_bound_to_its_row_and_cannot_be_updated_in_place() -> None:
    study = live_study()
    first, second = (Participant.objects.create(study=study, pseudonym=name) for name in ("P1", "P2"))
    Identity.objects.create(participant=first, name="Jo Doe")
    Identity.objects.create(participant=second, name="Al Roe")
    assert Identity.objects.get(participant=first).name == "Jo Doe"
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM participants_identity WHERE participant_id = %s", [first.pk])
        assert b"Jo" not in bytes(cursor.fetchone()[0])
        cursor.execute(
            "UPDATE participants_identity a SET name = b.name FROM participants_identity b "
            "WHERE a.participant_id = %s AND b.participant_id = %s",
            [second.pk, first.pk],
        )
    with pytest.raises(sealing.CannotOpen):
        _ = Identity.objects.get(participant=second).name
    with pytest.raises(TypeError, match="sealed"):
        Identity.objects.update(name="plain")


def test_saving_again_keeps_what_was_sealed() -> None:
    participant = Participant.objects.create(study=live_study(), pseudonym="P1")
    Identity.objects.create(participant=participant, name="Jo", email="jo@example.org")
    row = Identity.objects.get()
    row.email = None
    row.save()
    assert (Identity.objects.get().name, Identity.objects.get().email) == ("Jo", None)


def test_a_wrong_master_key_is_refused_before_anything_is_written(master: dict[int, bytes], settings: Any) -> None:
    sealed = services.seal(b"kept", owner=uuid4(), context="c")
    right = dict(master)
    before = DataKey.objects.count()
    settings.MASTER_KEYS = {1: sealing.new_key()}
    with pytest.raises(services.WrongMasterKey, match="EMA_MASTER_KEY number 1 is not the key"):
        services.seal(b"new", owner=uuid4(), context="c")
    for attempt in (services.check_store, lambda: services.unseal(sealed, context="c")):
        with pytest.raises(services.WrongMasterKey):
            attempt()
    assert DataKey.objects.count() == before
    settings.MASTER_KEYS = right
    assert services.unseal(sealed, context="c") == b"kept"


def test_an_older_master_key_that_was_left_out_too_early_is_named(master: dict[int, bytes], settings: Any) -> None:
    sealed = services.seal(b"kept", owner=uuid4(), context="c")
    settings.MASTER_KEYS = {2: sealing.new_key()}
    with pytest.raises(services.WrongMasterKey, match="no key number 1"):
        services.unseal(sealed, context="c")


def test_rotation_rewraps_every_key_and_readers_never_notice(master: dict[int, bytes], settings: Any) -> None:
    owners = [uuid4() for _ in range(25)]
    sealed = {owner: services.seal(str(owner).encode(), owner=owner, context="c") for owner in owners}
    old = master[1]
    settings.MASTER_KEYS = {2: sealing.new_key(), 1: old}
    fresh = uuid4()
    sealed[fresh] = services.seal(str(fresh).encode(), owner=fresh, context="c")  # while both are in use
    wrapped_before = DataKey.objects.filter(master=1).count()
    assert services.rotate_master_key(batch=7) == wrapped_before >= 25
    assert services.rotate_master_key() == 0
    settings.MASTER_KEYS = {2: settings.MASTER_KEYS[2]}
    for owner, value in sealed.items():
        assert services.unseal(value, context="c") == str(owner).encode()


def test_a_lost_key_store_is_told_from_an_erased_person() -> None:
    sealed = services.seal(b"x", owner=(owner := uuid4()), context="c")
    DataKey.objects.filter(owner=owner).delete()
    with pytest.raises(services.KeyStoreMissing, match="KEYS_DATABASE_URL"):
        services.unseal(sealed, context="c")
    Erasure.objects.create(owner=owner, erased_at=clock.now())
    with pytest.raises(services.KeyDestroyed):
        services.unseal(sealed, context="c")


@pytest.mark.parametrize("put_there", ["nothing", "another store"])
def test_another_key_store_put_in_the_place_of_the_lost_one_is_refused_and_left_as_it_is(put_there: str) -> None:
    participant = Participant.objects.create(study=live_study(), pseudonym="P1")
    record_identity(participant=participant, facts={"name": "Jo"}, actor="user:1")
    for model in (DataKey, MasterKey, Store):
        model.objects.all().delete()
    if put_there == "another store":
        Store.objects.create()
    stores = list(Store.objects.all())
    for attempt in (
        services.check_store,
        lambda: services.seal(b"x", owner=uuid4(), context="c"),
        lambda: services.owner_key(participant.key_id, "answer digests"),
        lambda: services.server_key("audit"),
        lambda: record_identity(participant=participant, facts={"email": "jo@example.org"}, actor="user:1"),
    ):
        with pytest.raises(services.KeyStoreMissing, match="KEYS_DATABASE_URL"):
            attempt()
    assert (DataKey.objects.count(), MasterKey.objects.count(), list(Store.objects.all())) == (0, 0, stores)


def test_a_key_that_an_older_process_made_after_rotation_is_told_before_its_master_key_is_missed(
    master: dict[int, bytes], settings: Any
) -> None:
    both = {2: sealing.new_key(), **master}
    settings.MASTER_KEYS = both
    services.rotate_master_key()
    settings.MASTER_KEYS = {1: master[1]}  # a process that was started before
    services.seal(b"x", owner=uuid4(), context="c")
    settings.MASTER_KEYS = {2: both[2]}
    with pytest.raises(services.WrongMasterKey, match="run rotate_keys again"):
        services.check_store()
    settings.MASTER_KEYS = both
    assert services.rotate_master_key() == 1
    settings.MASTER_KEYS = {2: both[2]}
    services.check_store()


def test_a_wrapped_key_serves_no_other_owner() -> None:
    first, second = uuid4(), uuid4()
    for owner in (first, second):
        services.seal(b"x", owner=owner, context="c")
    DataKey.objects.filter(owner=second).update(wrapped=DataKey.objects.get(owner=first).wrapped)
    with pytest.raises(services.WrongMasterKey):
        services.seal(b"x", owner=second, context="c")


def test_a_key_that_is_made_while_its_owner_is_erased_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, wrap = uuid4(), services._wrap

    def erased_meanwhile(*given: Any, **more: Any) -> bytes:
        monkeypatch.undo()
        services.destroy_key(owner=owner, now=clock.now())
        return wrap(*given, **more)

    monkeypatch.setattr(services, "_wrap", erased_meanwhile)
    with pytest.raises(services.KeyDestroyed):
        services.seal(b"x", owner=owner, context="c")
    assert not DataKey.objects.filter(owner=owner).exists()


def test_a_destroyed_key_is_never_made_again() -> None:
    owner = uuid4()
    services.seal(b"x", owner=owner, context="c")
    for _ in range(2):
        services.destroy_key(owner=owner, now=clock.now())
    with pytest.raises(services.KeyDestroyed):
        services.seal(b"y", owner=owner, context="c")
    assert owner in services.erased_owners()


def test_the_register_outlives_its_table_and_a_torn_line(settings: Any) -> None:
    owner = uuid4()
    services.destroy_key(owner=owner, now=clock.now())
    Erasure.objects.all().delete()
    register = Path(settings.VAR) / "erasures.jsonl"
    assert oct(register.stat().st_mode)[-3:] == "600"
    with register.open("a") as file:
        file.write('{"owner": "torn')
    assert set(services.erased_owners()) == {owner}
    services.destroy_key(owner=(later := uuid4()), now=clock.now())
    Erasure.objects.all().delete()
    assert set(services.erased_owners()) == {owner, later}, "what was torn takes nobody after it along"


def test_keys_are_held_for_a_batch_and_not_longer(django_assert_num_queries: Any) -> None:
    owner = uuid4()
    sealed = services.seal(b"x", owner=owner, context="c")
    with services.holding_keys(), django_assert_num_queries(1, using="keys"):
        for _ in range(5):
            services.unseal(sealed, context="c")
    with django_assert_num_queries(1, using="keys"):
        services.unseal(sealed, context="c")


def test_arbitrary_bytes_survive_a_sealed_column() -> None:
    participant = Participant.objects.create(study=live_study(), pseudonym="P1")
    raw = os.urandom(300) + b"\xff\xfe\x80"
    Identity.objects.create(participant=participant, note=raw.decode(errors="surrogateescape"))
    note = Identity.objects.get().note
    assert note is not None
    assert note.encode(errors="surrogateescape") == raw


def test_a_correction_needs_a_reason_and_a_first_entry_does_not() -> None:
    participant = Participant.objects.create(study=live_study(), pseudonym="P1")
    record_identity(participant=participant, facts={"name": "Jo"}, actor="user:1")
    with pytest.raises(Exception, match="reason: say why"):
        record_identity(participant=participant, facts={"name": "Joe"}, actor="user:1")
    record_identity(participant=participant, facts={"name": "Joe"}, actor="user:1", reason="misspelt")
    assert Identity.objects.get().name == "Joe"


def test_the_servers_key_is_nobodys_number() -> None:
    assert UUID(int=0) == services.SERVER
    assert services.server_key("a") != services.server_key("b")
    assert services.server_key("a") == services.server_key("a")


def test_a_page_with_an_altered_identity_says_so() -> None:
    owner = researcher()
    study = live_study(owner)
    participant = Participant.objects.create(study=study, pseudonym="P1")
    Identity.objects.create(participant=participant, name="Jo")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE participants_identity SET name = set_byte(name, 40, 7)")
    client = Client(raise_request_exception=False)
    client.force_login(owner)
    answer = client.get(f"/studies/{study.slug}/participants/{participant.pk}/identity/")
    assert answer.status_code == 503
    assert "altered or moved since it was sealed" in answer.content.decode()

"""An upgrade interrupted midway leaves nothing half-done, and is finished by running it again."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from django.apps import apps
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'public.responses_submission')
    THEN PERFORM pg_sleep(60); END IF;
END $$;
CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION slow();
"""


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database; its key store is beside it."""
    address = urlsplit(os.environ["DATABASE_URL"])
    name = f"upgrade_{uuid4().hex[:8]}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        admin.execute(f"CREATE DATABASE {name}_keys")
        yield urlunsplit(address._replace(path=f"/{name}"))
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.execute(f"DROP DATABASE {name}_keys WITH (FORCE)")


def upgrade(url: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "upgrade", *more],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(found: psycopg.Connection[tuple[object, ...]], query: str) -> None:
    give_up = time.monotonic() + 40
    while time.monotonic() < give_up:
        if found.execute(query).fetchone() is not None:
            return
        time.sleep(0.05)
    raise AssertionError(query)


def test_killed_in_a_slow_migration_it_is_finished_by_the_next_run(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as watch:
        watch.execute(SLOW)
        first = upgrade(database)
        here = "pid <> pg_backend_pid() AND datname = current_database()"
        until(watch, f"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND {here}")
        second = upgrade(database)
        said = second.communicate(timeout=40)[1]
        assert second.returncode == 1
        assert "Another upgrade is running" in said
        first.send_signal(signal.SIGKILL)
        first.wait()
        until(watch, f"SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE {here})")
        assert watch.execute("SELECT to_regclass('responses_submission')").fetchone() == (None,)
        done = watch.execute("SELECT count(*) FROM django_migrations").fetchone()
        assert done is not None
        assert done[0] > 5
        watch.execute("DROP EVENT TRIGGER slow")
    third = upgrade(database)
    said, trouble = third.communicate(timeout=60)
    assert third.returncode == 0, trouble
    assert "Both databases are as this release needs them." in said
    with psycopg.connect(database) as watch:
        applied = set(watch.execute("SELECT app, name FROM django_migrations").fetchall())
    assert set(MigrationLoader(None).graph.leaf_nodes()) <= applied


def test_a_table_in_use_is_tried_again_and_told(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as busy:
        busy.execute("CREATE TABLE django_migrations (id bigint, app text, name text, applied timestamptz)")
        busy.execute("BEGIN")
        busy.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        waiting = upgrade(database, "--attempts", "1")
        said = waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 1
    assert "was busy at each of 1 attempts. What was done is whole and stays" in said
    assert "Traceback" not in said


# A migration runs while the old code serves. These do what old code could not live with; each says why that harms nobody.
FIRST = "older than the first release: no server has run the code before it"
KNOWN = {
    "ledger.0003_outbox": FIRST,
    "participants.0002_identity_and_keys": FIRST,
    "responses.0002_sealed_content": FIRST,
    "sampling.0002_sealed_note": FIRST,
    "sampling.0004_schedules": "only what there is to choose from: no SQL",
    "sampling.0007_decisions_stand": "only what there is to choose from, and a help text: no SQL",
}


def hazards(operation: migrations.operations.base.Operation, made_here: set[str]) -> list[str]:
    """What would lock a large table or break the code that still runs."""
    model = (getattr(operation, "model_name", None) or getattr(operation, "name", "") or "").lower()
    if model in made_here:
        return []
    found = []
    if isinstance(operation, migrations.AddField):
        field = operation.field
        optional = field.null or field.has_db_default() or isinstance(field, models.ManyToManyField)
        if not optional:
            found.append(f"adds {model}.{operation.name}, which running code does not fill: null=True or db_default")
    if isinstance(operation, migrations.RemoveField | migrations.DeleteModel):
        found.append(f"removes what running code reads: {operation.describe()}")
    if isinstance(operation, migrations.RenameField | migrations.RenameModel | migrations.AlterModelTable):
        found.append(f"renames what running code reads: {operation.describe()}")
    if isinstance(operation, migrations.AlterField):
        found.append(f"may rewrite the table: {operation.describe()}")
    if isinstance(operation, migrations.AddIndex) and not isinstance(operation, AddIndexConcurrently):
        found.append(f"locks writers out while it builds: {operation.describe()}; use AddIndexConcurrently")
    if isinstance(operation, migrations.AddConstraint) and not isinstance(operation, AddConstraintNotValid):
        found.append(f"reads the whole table under a lock: {operation.describe()}; add it NOT VALID, then validate")
    return found


def our_migrations() -> list[tuple[str, migrations.Migration]]:
    ours = {config.label for config in apps.get_app_configs() if config.name.startswith("ema_server.")}
    loader = MigrationLoader(None)
    return [(f"{app}.{name}", each) for (app, name), each in sorted(loader.disk_migrations.items()) if app in ours]


def all_hazards() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, migration in our_migrations():
        made = {op.name.lower() for op in migration.operations if isinstance(op, migrations.CreateModel)}
        for operation in migration.operations:
            for hazard in hazards(operation, made):
                found.setdefault(name, []).append(hazard)
    return found


def test_no_migration_breaks_the_code_that_still_runs() -> None:
    unknown = {name: found for name, found in all_hazards().items() if name not in KNOWN}
    assert unknown == {}, "split it over two releases, or say in KNOWN why it harms nobody"


def test_the_scan_sees_what_it_should() -> None:
    text = models.TextField()
    assert hazards(migrations.AddField("thing", "more", text), set())
    assert not hazards(migrations.AddField("thing", "more", text), {"thing"})
    assert not hazards(migrations.AddField("thing", "more", models.TextField(null=True)), set())
    assert not hazards(migrations.AddField("thing", "more", models.TextField(db_default="")), set())
    assert hazards(migrations.RemoveField("thing", "more"), set())
    assert hazards(migrations.RenameField("thing", "more", "less"), set())
    assert hazards(migrations.AddIndex("thing", models.Index(fields=["a"], name="b")), set())
    assert re.search(
        "NOT VALID",
        hazards(migrations.AddConstraint("thing", models.UniqueConstraint(fields=["a"], name="b")), set())[0],
    )


def test_a_wrong_master_key_is_told_before_anything_serves(database: str) -> None:
    assert upgrade(database).communicate(timeout=60) is not None
    wrong = base64.b64encode(os.urandom(32)).decode()
    answer = subprocess.run(
        [sys.executable, "manage.py", "upgrade"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database, "EMA_MASTER_KEY": wrong},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    assert "is not the key that sealed this key store" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert wrong not in answer.stderr

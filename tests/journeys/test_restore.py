"""The restore drill: a server's data are backed up, its databases are lost, and it answers from the restored ones.

Every server here is real: databases of their own, `manage.py` in processes of their own.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from ema_server.backup.archive import Manifest, new_archive, open_archive

ROOT = Path(__file__).resolve().parents[2]
MASTER_KEY = base64.b64encode(secrets.token_bytes(32)).decode()
CHANGED_BY_A_RESTORE = {"django_migrations", "ledger_auditchain", "ledger_auditevent"}  # when, and that it happened


def url_of(name: str) -> str:
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def admin(statement: str) -> None:
    with psycopg.connect(url_of("postgres"), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[arg-type]


@dataclass
class Server:
    """Two databases and a state folder; commands run as they would on a machine of their own."""

    name: str
    var: Path
    master_key: str = MASTER_KEY

    @classmethod
    def new(cls, name: str, var: Path, *, like: str | None = "drill_template") -> Server:
        for database in (name, f"{name}_keys"):
            admin(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            template = "" if like is None else f" TEMPLATE {like}{database.removeprefix(name)}"
            admin(f"CREATE DATABASE {database}{template}")
        var.mkdir(exist_ok=True)
        return cls(name, var)

    def drop(self) -> None:
        for database in (self.name, f"{self.name}_keys"):
            admin(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": url_of(self.name),
            "KEYS_DATABASE_URL": url_of(f"{self.name}_keys"),
            "EMA_VAR": str(self.var),
            "EMA_MASTER_KEY": self.master_key,
        }

    def start(self, *command: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def manage(self, *arguments: str, **more: Any) -> tuple[int, str]:
        """Exit code, and everything it said."""
        process = self.start("manage.py", *arguments, **more)
        said, complained = process.communicate(timeout=90)
        return process.returncode, said + complained

    def cast(self, *arguments: str) -> Any:
        process = self.start("-m", "tests.journeys.restore_cast", *arguments)
        said, complained = process.communicate(timeout=90)
        assert process.returncode == 0, complained
        return json.loads(said.splitlines()[-1])

    def rows(self, statement: str, *, keys: bool = False) -> list[tuple[Any, ...]]:
        with psycopg.connect(url_of(f"{self.name}_keys" if keys else self.name)) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[arg-type]

    @property
    def is_empty(self) -> bool:
        return self.rows("SELECT (SELECT count(*) FROM studies_study) + (SELECT count(*) FROM accounts_user)") == [
            (0,)
        ] and self.rows("SELECT count(*) FROM vault_datakey", keys=True) == [(0,)]


@dataclass(frozen=True)
class Drill:
    """A server that was backed up, and what its phone remembers."""

    main: Path
    keys: Path
    phone: dict[str, Any]
    server: Server

    @property
    def both(self) -> list[str]:
        return [str(self.main), "--keys", str(self.keys)]


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    home = tmp_path_factory.mktemp("drill")
    template = Server.new("drill_template", home / "template", like=None)
    for database in ("default", "keys"):
        assert template.manage("migrate", "--database", database, "-v0") == (0, "")
    server = Server.new("drill_source", home / "var")
    phone = server.cast("build")
    code, said = server.manage("backup", "--to", str(home / "main"), "--keys-to", str(home / "keys"))
    assert code == 0, said
    (main,), (keys,) = (home / "main").glob("*.backup"), (home / "keys").glob("*.backup")
    yield Drill(main, keys, phone, server)
    server.drop()
    template.drop()


@pytest.fixture
def fresh(drill: Drill, tmp_path: Path) -> Iterator[Server]:
    """A machine that has lost everything: empty databases, an empty state folder, and the master key of the safe."""
    server = Server.new("drill_fresh", tmp_path / "var")
    yield server
    server.drop()


def digests(path: Path, store: str) -> dict[str, str]:
    with open_archive(path, store=store) as archive:
        return {name: entry.sha256 for name, entry in archive.manifest.tables.items()}


def test_the_drill(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    started = time.monotonic()
    code, said = fresh.manage("restore", *drill.both)
    print(f"\nrestored in {time.monotonic() - started:.1f} s: {said.strip()}")
    assert code == 0, said

    code, said = fresh.manage("backup", "--to", str(tmp_path / "main"), "--keys-to", str(tmp_path / "keys"))
    assert code == 0, said
    (main,), (keys,) = (tmp_path / "main").glob("*.backup"), (tmp_path / "keys").glob("*.backup")
    before, after = digests(drill.main, "main"), digests(main, "main")
    assert {name for name in before if before[name] != after[name]} == CHANGED_BY_A_RESTORE
    before, after = digests(drill.keys, "keys"), digests(keys, "keys")
    assert {name for name in before if before[name] != after[name]} == {"django_migrations"}
    marker = json.loads((fresh.var / "last-backup.json").read_text())
    assert (marker["main"]["file"], marker["keys"]["bytes"]) == (main.name, keys.stat().st_size)

    heard = fresh.cast("ask", drill.phone["token"], json.dumps(drill.phone["item"]))
    assert heard == {"prompts": 28, "again": "duplicate", "new": "stored", "submissions": 13, "audit_faults": []}
    ((action, about),) = fresh.rows("SELECT action, about FROM ledger_auditevent ORDER BY id DESC LIMIT 1")
    assert (action, about[:7]) == ("server.restored", "backup:")


def test_logins_and_failed_logins_are_left_out(drill: Drill) -> None:
    with open_archive(drill.main, store="main") as archive:
        tables = set(archive.manifest.tables)
        assert {"accounts_user", "responses_submission", "django_migrations"} <= tables
        assert not {name for name in tables if name.startswith(("django_session", "django_celery_beat", "axes_"))}
        assert set(archive.manifest.left_out) == {"django_session", "django_celery_beat_", "axes_"}
        assert not {name for name in tables if name.startswith("vault_")}, "no key lies beside what it opens"


def test_a_second_restore_is_refused_and_changes_nothing(drill: Drill, fresh: Server) -> None:
    assert fresh.manage("restore", *drill.both)[0] == 0
    events = fresh.rows("SELECT count(*) FROM ledger_auditevent")
    for arguments in (drill.both, [str(drill.main)]):
        code, said = fresh.manage("restore", *arguments)
        assert code == 1
        assert "The main database is not empty: it holds rows in" in said
        assert "A restore never overwrites." in said
    assert fresh.rows("SELECT count(*) FROM ledger_auditevent") == events


def test_a_lost_database_is_restored_beside_the_key_store_that_is_still_there(drill: Drill, fresh: Server) -> None:
    assert fresh.manage("restore", *drill.both)[0] == 0
    admin("DROP DATABASE drill_fresh WITH (FORCE)")
    admin("CREATE DATABASE drill_fresh")  # without any table
    code, said = fresh.manage("restore", *drill.both)
    assert (code, "Leave --keys out" in said) == (1, True), said
    code, said = fresh.manage("restore", str(drill.main))
    assert code == 0, said
    assert fresh.cast("ask", drill.phone["token"], json.dumps(drill.phone["item"]))["again"] == "duplicate"


def test_a_damaged_file_and_a_missing_one_are_refused(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    content = drill.main.read_bytes()
    damaged = tmp_path / "damaged.backup"
    damaged.write_bytes(content[:5000] + bytes([content[5000] ^ 255]) + content[5001:])
    for file, words in ((damaged, "is damaged"), (tmp_path / "none", "cannot be read"), (drill.keys, "after --keys")):
        code, said = fresh.manage("restore", str(file), "--keys", str(drill.keys))
        assert (code, words in said) == (1, True), said
    assert fresh.is_empty


def test_a_wrong_master_key_is_refused(drill: Drill, fresh: Server) -> None:
    fresh.master_key = base64.b64encode(bytes(32)).decode()
    code, said = fresh.manage("restore", *drill.both)
    assert code == 1
    assert "EMA_MASTER_KEY number 1 is not the key that sealed this key store" in said
    assert fresh.is_empty


def test_a_missing_key_store_is_refused_unless_that_is_meant(drill: Drill, fresh: Server) -> None:
    code, said = fresh.manage("restore", str(drill.main))
    assert code == 1
    assert "The key store is missing. Add --keys FILE" in said
    assert "identity and contacts" in said
    assert fresh.is_empty
    code, said = fresh.manage("restore", str(drill.main), "--without-keys")
    assert code == 0, said
    assert "Without the key store these cannot be read: participants' identity" in said
    assert fresh.rows("SELECT count(*) FROM responses_submission") == [(12,)]


def test_the_key_store_of_another_server_is_refused(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    other = Server.new("drill_other", tmp_path / "other")
    try:
        other.cast("build")
        assert other.manage("backup", "--to", str(tmp_path / "m"), "--keys-to", str(tmp_path / "k"))[0] == 0
        (keys,) = (tmp_path / "k").glob("*.backup")
    finally:
        other.drop()
    code, said = fresh.manage("restore", str(drill.main), "--keys", str(keys))
    assert (code, "The two files are of two servers" in said) == (1, True), said
    assert fresh.is_empty


def test_a_backup_of_a_newer_version_is_refused(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    path = tmp_path / "newer.backup"
    newer = Manifest("main", None, "", "9.0", {"studies": ["0001_initial", "0999_from_the_future"]})
    with new_archive(path, newer):
        pass
    code, said = fresh.manage("restore", str(path), "--keys", str(drill.keys))
    assert (code, "taken by version 9.0 and needs migrations that are not here: studies.0999" in said) == (1, True), (
        said
    )
    assert fresh.is_empty


def test_an_older_backup_is_brought_up_to_this_version(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    old = Server.new("drill_old", tmp_path / "old", like=None)
    try:
        assert old.manage("migrate", "-v0")[0] == old.manage("migrate", "--database", "keys", "-v0")[0] == 0
        assert old.manage("migrate", "ledger", "0002", "-v0")[0] == 0
        with psycopg.connect(url_of("drill_old")) as connection:
            connection.execute(
                "INSERT INTO ledger_job (kind, key, payload, due_at, attempts, progress, last_error, created_at) "
                "VALUES ('old', 'a', '{}', now(), 0, '', '', now())"
            )
        assert old.manage("backup", "--to", str(tmp_path / "m"), "--keys-to", str(tmp_path / "k"))[0] == 0
        (main,), (keys,) = (tmp_path / "m").glob("*.backup"), (tmp_path / "k").glob("*.backup")
    finally:
        old.drop()
    code, said = fresh.manage("restore", str(main), "--keys", str(keys))
    assert code == 0, said
    assert "newer migration" in said
    assert fresh.rows("SELECT kind, claims FROM ledger_job") == [("old", 0)]
    assert fresh.manage("migrate", "--check")[0] == 0


def test_a_restore_that_is_killed_midway_leaves_nothing_and_can_be_done_again(drill: Drill, fresh: Server) -> None:
    with psycopg.connect(url_of(fresh.name), autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$; "
            "CREATE TRIGGER wait_here BEFORE INSERT ON responses_submission FOR EACH ROW EXECUTE FUNCTION wait_here()"
        )
        process = fresh.start("manage.py", "restore", *drill.both)
        sleeping = f"SELECT pid FROM pg_stat_activity WHERE datname = '{fresh.name}' AND wait_event = 'PgSleep'"
        give_up = time.monotonic() + 30
        while not (found := connection.execute(sleeping).fetchall()):  # type: ignore[arg-type]
            assert time.monotonic() < give_up, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for (pid,) in found:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        connection.execute("DROP TRIGGER wait_here ON responses_submission")
        assert fresh.is_empty
    code, said = fresh.manage("restore", *drill.both)
    assert code == 0, said
    assert fresh.rows("SELECT count(*) FROM responses_submission") == [(12,)]


def test_a_room_that_cannot_erase_again_stops_the_restore(drill: Drill, fresh: Server) -> None:
    assert fresh.cast("fail", str(drill.main), str(drill.keys)) == {"seen": [12]}
    assert fresh.is_empty


def test_the_key_of_somebody_who_was_erased_since_does_not_come_back(drill: Drill, fresh: Server) -> None:
    gone, stays = drill.phone["keys"]["P1"], drill.phone["keys"]["P2"]
    line = {"owner": gone, "erased_at": datetime(2026, 5, 1, tzinfo=UTC).isoformat()}
    (fresh.var / "erasures.jsonl").write_text(json.dumps(line) + "\n")
    code, said = fresh.manage("restore", *drill.both)
    assert code == 0, said
    assert "1 who were erased stay erased" in said
    owners = {str(owner) for (owner,) in fresh.rows("SELECT owner FROM vault_datakey", keys=True)}
    assert stays in owners
    assert gone not in owners
    assert fresh.rows("SELECT owner::text FROM vault_erasure", keys=True) == [(gone,)]


def test_tables_that_somebody_holds_are_waited_for_and_then_refused(drill: Drill, fresh: Server) -> None:
    with psycopg.connect(url_of(fresh.name)) as connection:
        connection.execute("LOCK TABLE studies_study IN ACCESS SHARE MODE")
        code, said = fresh.manage("restore", *drill.both)
    assert (code, "Stop web, worker and beat, then restore again" in said) == (1, True), said
    assert fresh.is_empty


def test_a_full_disk_leaves_no_backup_and_the_earlier_ones(drill: Drill, tmp_path: Path) -> None:
    earlier = tmp_path / "main" / "ema-main-20991231T000000Z.backup"
    earlier.parent.mkdir()
    earlier.write_text("earlier")

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))

    code, said = drill.server.manage("backup", "--to", str(earlier.parent), preexec_fn=small_disk)
    assert code == 1, said
    assert "could not be written: File too large. No file was left there; earlier backups are untouched." in said
    assert "Traceback" not in said
    assert [path.read_text() for path in earlier.parent.iterdir()] == ["earlier"]


def test_answers_and_keys_do_not_lie_in_one_folder(drill: Drill, tmp_path: Path) -> None:
    code, said = drill.server.manage("backup", "--to", str(tmp_path), "--keys-to", f"{tmp_path}/../{tmp_path.name}")
    assert (code, "must not lie beside the keys that open it" in said) == (1, True), said
    code, said = drill.server.manage("backup", "--to", str(tmp_path), "--keep-days", "0")
    assert (code, "write a whole number from 1 to 36500" in said) == (2, True), said
    assert not list(tmp_path.glob("*.backup"))

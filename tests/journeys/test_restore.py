"""The restore drill: a server's data are backed up, its databases are lost, and it answers from the restored ones.

Every server here is real: databases of their own, `manage.py` in processes of their own.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from ema_server.backup.archive import Manifest, new_archive, open_archive

ROOT = Path(__file__).resolve().parents[2]
MASTER_KEY = base64.b64encode(secrets.token_bytes(32)).decode()
OF_THE_PLANTED = 16  # answers of the person with the telling texts
ANSWERS = 3 * 4 + OF_THE_PLANTED
TOLD_OF_A_RESTORE = {"ledger_auditchain", "ledger_auditevent"}


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

    def refusals(self, *restores: list[str]) -> list[str]:
        said: list[str] = self.cast("refusals", *("\n".join(arguments) for arguments in restores))
        return said

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
    template.cast("migrate")
    server = Server.new("drill_source", home / "var")
    phone = server.cast("build", str(home))
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
    assert "may be back: the register of erasures came with the backup" in said, "no later register is there"

    code, said = fresh.manage("backup", "--to", str(tmp_path / "main"), "--keys-to", str(tmp_path / "keys"))
    assert code == 0, said
    (main,), (keys,) = (tmp_path / "main").glob("*.backup"), (tmp_path / "keys").glob("*.backup")
    before, after = digests(drill.main, "main"), digests(main, "main")
    assert {name for name in before if before[name] != after.get(name)} - {"django_migrations"} == TOLD_OF_A_RESTORE
    before, after = digests(drill.keys, "keys"), digests(keys, "keys")
    assert {name for name in before if before[name] != after.get(name)} <= {"django_migrations"}
    marker = json.loads((fresh.var / "last-backup.json").read_text())
    assert (marker["main"]["file"], marker["keys"]["bytes"]) == (main.name, keys.stat().st_size)

    heard = fresh.cast("ask", drill.phone["token"], json.dumps(drill.phone["item"]))
    assert heard == {
        "prompts": drill.phone["prompts"],
        "again": "duplicate",
        "new": "stored",
        "submissions": ANSWERS + 1,
        "audit_faults": [],
    }
    ((action, about),) = fresh.rows("SELECT action, about FROM ledger_auditevent ORDER BY id DESC LIMIT 1")
    assert (action, about[:7]) == ("server.restored", "backup:")


def test_logins_and_failed_logins_are_left_out(drill: Drill) -> None:
    with open_archive(drill.main, store="main") as archive:
        tables = set(archive.manifest.tables)
        assert {"accounts_user", "responses_submission", "django_migrations"} <= tables
        assert not {name for name in tables if name.startswith(("django_session", "django_celery_beat", "axes_"))}
        assert set(archive.manifest.left_out) == {"django_session", "django_celery_beat_", "axes_"}
        assert not {name for name in tables if name.startswith("vault_")}, "no key lies beside what it opens"


def test_only_what_was_lost_is_restored_and_never_over_living_data(drill: Drill, fresh: Server) -> None:
    assert fresh.manage("restore", *drill.both)[0] == 0
    events = fresh.rows("SELECT count(*) FROM ledger_auditevent")
    for said in fresh.refusals(drill.both, [str(drill.main)]):
        assert said.startswith("The main database is not empty: it holds rows in")
        assert "A restore never overwrites." in said
    assert fresh.rows("SELECT count(*) FROM ledger_auditevent") == events

    admin("DROP DATABASE drill_fresh WITH (FORCE)")
    admin("CREATE DATABASE drill_fresh TEMPLATE drill_template")  # the key store is still there
    (said,) = fresh.refusals(drill.both)
    assert "The key store is not empty" in said
    assert "Leave --keys out if this is the store that belongs to the backup." in said
    assert fresh.manage("restore", str(drill.main))[0] == 0
    assert fresh.cast("ask", drill.phone["token"], json.dumps(drill.phone["item"]))["again"] == "duplicate"


def test_what_is_no_sound_backup_of_this_server_is_refused(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    content = drill.main.read_bytes()
    damaged, newer, other = (tmp_path / f"{name}.backup" for name in ("damaged", "newer", "other"))
    damaged.write_bytes(content[:5000] + bytes([content[5000] ^ 255]) + content[5001:])
    with new_archive(newer, Manifest("main", None, "", "9.0", {"studies": ["0001_initial", "0999_from_the_future"]})):
        pass
    with open_archive(drill.keys, store="keys") as keys:
        manifest = dataclasses.replace(keys.manifest, server=str(uuid4()), tables={})
        with new_archive(other, manifest) as writer:
            for table, entry in keys.manifest.tables.items():
                writer.add(table, entry.columns, keys.chunks(table))
    said = fresh.refusals(
        [str(damaged), "--keys", str(drill.keys)],
        [str(drill.main), "--keys", str(damaged)],
        [str(tmp_path / "none"), "--keys", str(drill.keys)],
        [str(drill.keys), "--keys", str(drill.main)],
        [str(newer), "--keys", str(drill.keys)],
        [str(drill.main), "--keys", str(other)],
        [str(drill.main)],
    )
    for words, sentence in zip(
        (
            "is damaged: its content does not match the digest at its end. Nothing was changed.",
            "is damaged",
            "cannot be read: No such file",
            "give the main database's file first and the key store's after --keys",
            "taken by version 9.0 and needs migrations that are not here: studies.0999_from_the_future.",
            "The two files are of two servers",
            "The key store is missing. Add --keys FILE",
        ),
        said,
        strict=True,
    ):
        assert words in sentence
    assert fresh.is_empty


def test_a_wrong_master_key_is_refused(drill: Drill, fresh: Server) -> None:
    fresh.master_key = base64.b64encode(bytes(32)).decode()
    code, said = fresh.manage("restore", *drill.both)
    assert code == 1
    assert "EMA_MASTER_KEY number 1 is not the key that sealed this key store" in said
    assert fresh.is_empty


def test_a_master_key_that_was_rotated_out_is_not_needed_any_more(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    assert fresh.manage("restore", *drill.both)[0] == 0
    newer = base64.b64encode(secrets.token_bytes(32)).decode()
    fresh.master_key = f"2:{newer},1:{MASTER_KEY}"
    assert fresh.manage("rotate_keys")[0] == 0
    fresh.master_key = f"2:{newer}"
    assert fresh.manage("backup", "--to", str(tmp_path / "m"), "--keys-to", str(tmp_path / "k"))[0] == 0
    (main,), (keys,) = (tmp_path / "m").glob("*.backup"), (tmp_path / "k").glob("*.backup")
    another = Server.new("drill_another", tmp_path / "another")
    another.master_key = fresh.master_key
    try:
        code, said = another.manage("restore", str(main), "--keys", str(keys))
        assert code == 0, said
        heard = another.cast("ask", drill.phone["token"], json.dumps(drill.phone["item"]))
    finally:
        another.drop()
    assert (heard["again"], heard["audit_faults"]) == ("duplicate", [])


def test_without_the_key_store_the_rest_comes_back_if_that_is_meant(drill: Drill, fresh: Server) -> None:
    code, said = fresh.manage("restore", str(drill.main), "--without-keys")
    assert code == 0, said
    assert "Without the key store these cannot be read: participants' identity" in said
    assert fresh.rows("SELECT count(*) FROM responses_submission") == [(ANSWERS,)]
    assert fresh.cast("ask", drill.phone["token"], json.dumps(drill.phone["item"]))["new"] == "stored"


def test_an_older_backup_is_brought_up_to_this_version(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    old = Server.new("drill_old", tmp_path / "old")
    try:
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
    assert fresh.rows("SELECT count(*) FROM responses_submission") == [(ANSWERS,)]


def test_a_room_that_cannot_erase_again_stops_the_restore(drill: Drill, fresh: Server) -> None:
    assert fresh.cast("fail", str(drill.main), str(drill.keys)) == {"seen": [ANSWERS]}
    assert fresh.is_empty


def test_a_damaged_register_of_erasures_stops_the_restore(drill: Drill, fresh: Server, tmp_path: Path) -> None:
    main, keys = (shutil.copy(path, tmp_path) for path in (drill.main, drill.keys))
    (tmp_path / "erasures.jsonl").write_text('{"owner": "5b6c')
    (said,) = fresh.refusals([main, "--keys", keys])
    assert "line 1 names nobody: this copy of the register of erasures is damaged" in said
    assert fresh.is_empty


def test_somebody_who_was_erased_since_stays_erased(drill: Drill, fresh: Server) -> None:
    gone, stays = drill.phone["keys"]["P77"], drill.phone["keys"]["P2"]
    assert fresh.manage("restore", *drill.both)[0] == 0
    assert len(fresh.cast("find", *drill.phone["texts"])["found"]) > 3, "what was never there proves nothing"
    fresh.cast("erase", "P77")
    for database in ("drill_fresh", "drill_fresh_keys"):  # both are lost; the register's file, or its copy, is not
        admin(f"DROP DATABASE {database} WITH (FORCE)")
        admin(f"CREATE DATABASE {database} TEMPLATE drill_template{database.removeprefix('drill_fresh')}")
    code, said = fresh.manage("restore", *drill.both)
    assert code == 0, said
    assert "1 who were erased stay erased" in said
    assert "may be back" not in said, "the register's file knows of all"
    owners = {str(owner) for (owner,) in fresh.rows("SELECT owner FROM vault_datakey", keys=True)}
    assert stays in owners
    assert gone not in owners
    assert fresh.rows("SELECT owner::text FROM vault_erasure", keys=True) == [(gone,)]
    assert fresh.rows("SELECT pseudonym FROM erasure_certificate") == [("P77",)]
    assert fresh.rows("SELECT count(*) FROM responses_submission") == [(ANSWERS - OF_THE_PLANTED,)]
    assert fresh.cast("find", *drill.phone["texts"])["found"] == []


def test_a_backup_holds_no_identity_and_no_free_text_in_clear(drill: Drill) -> None:
    with open_archive(drill.main, store="main") as archive:
        content = b"".join(chunk for table in archive.manifest.tables for chunk in archive.chunks(table)).decode()
    assert len(drill.phone["sealed"]) >= 14
    assert [text for text in drill.phone["sealed"] if text in content or text.encode().hex() in content] == []


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
    assert not list(tmp_path.glob("*.backup"))

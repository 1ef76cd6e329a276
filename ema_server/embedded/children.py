"""Child processes that never outlive their parent, and need not be root."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    on_parents_death: signal.Signals = signal.SIGTERM,
    unprivileged: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own that gets a signal when this one dies, however it dies (on Linux).

    `unprivileged`: where this process is root, the child runs as `nobody` (PostgreSQL refuses to be root).
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=_before_exec(on_parents_death, drop=unprivileged and os.geteuid() == 0),
        )


def owner_of_servers() -> tuple[int, int]:
    """Who the servers run as: (uid, gid) of `nobody` for root, else our own."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def stop(processes: Sequence[subprocess.Popen[bytes]], *, by: signal.Signals, within: float) -> None:
    """Ask all to end at once, wait, and kill what has not ended."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(by)
    for process in processes:
        try:
            process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _before_exec(on_parents_death: signal.Signals, *, drop: bool) -> Callable[[], None]:
    parent = os.getpid()
    uid, gid = owner_of_servers()

    def prepare() -> None:
        if drop:
            _become(uid, gid)
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(on_parents_death), 0, 0, 0)  # after setuid, which would clear it
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return prepare


def _become(uid: int, gid: int) -> None:
    """Give up root, keeping one capability: to pass through folders that are closed to others.

    A checkout below /root or a private temporary folder is closed to `nobody`; opening its ancestors to everybody, as
    the wheel's own starter does, would be a hole. The capability is ambient, so it survives the exec of the server.
    """
    os.setgroups([])
    os.setgid(gid)
    if _libc is None:
        os.setuid(uid)
        return
    # Without this, setuid would clear the capabilities and access(), by which initdb looks for its programs, ignore them.
    _libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setuid(uid)
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):  # a container's root may lack the first
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        bit = 1 << capability
        data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)  # effective, permitted, inheritable; low word, high word
        if (
            _libc.capset(header, data) == 0
            and _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0
        ):
            return

"""The one decorator that turns a Python loop into a kernel, and the one way to run a kernel on several cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, cast

from numba import njit
from threadpoolctl import ThreadpoolController

Loop = TypeVar("Loop", bound=Callable[..., object])
Result = TypeVar("Result")


def compiled(loop: Loop) -> Loop:
    """Compile with numba at the first call and keep the result on disk; other threads go on while it runs.

    A division by zero gives infinity, as in numpy: no branch stands in the way of several rows at once. No fastmath: it
    breaks the rules for NaN.
    """
    kernel = njit(cache=True, nogil=True, error_model="numpy")(loop)
    if hasattr(kernel, "stats"):  # a plain function where numba is told not to compile
        _forget_stale(kernel.stats.cache_path)
    return cast(Loop, kernel)


def inlined(loop: Loop) -> Loop:
    """A part of a kernel that is written into it before it is compiled: a call that hands on many arrays costs more than it does."""
    return cast(Loop, njit(inline="always")(loop))


@cache
def _forget_stale(folder: str) -> None:
    """Removes compiled copies that were made of other sources: numba looks at a kernel's own file, not at those of its parts."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    digest, stamp = sha256(sources).hexdigest(), Path(folder) / "sources.sha256"
    try:
        if not stamp.exists() or stamp.read_text() != digest:
            for copy in Path(folder).glob("*.nb[ci]"):
                copy.unlink(missing_ok=True)
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.write_text(digest)
    except OSError:
        return  # a folder that cannot be written to holds no copies of ours


def on_one_blas_thread(work: Loop) -> Loop:
    """What wraps linear algebra of middling size: a library's threads, which wait in a loop, cost more than they give.

    With other processes on the second core the fit of InstEval, 1,156 kept columns, took 4 to 17 s on two threads, 1 s on one.
    """
    return cast(Loop, _blas().wrap(limits=1, user_api="blas")(work))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def each(work: Callable[[int], Result], parts: int) -> list[Result]:
    """The results of work(0) … work(parts − 1), in this order, on as many cores as there are.

    What a part is must not depend on the number of cores: then neither do the bits of the sum over parts.
    """
    if parts == 1:
        return [work(0)]
    return list(_pool(os.getpid()).map(work, range(parts)))


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked child, which inherits none, gets its own."""
    return ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(process)), thread_name_prefix="kernel")

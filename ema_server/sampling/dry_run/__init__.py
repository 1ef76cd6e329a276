"""A dry run: what a sampling plan asks, of whom and when, before anybody is asked. Pure, no framework.

`run` asks simulated people (`cast`, `asking`, `responding`) by the functions that ask real ones and measures it (`measures`,
`cautions`); `found` is the result as plain data; `text` and `drawing` show it.
"""

from __future__ import annotations

from ema_server.sampling.dry_run.found import DryRun, Run
from ema_server.sampling.dry_run.responding import Responding
from ema_server.sampling.dry_run.run import dry_run

__all__ = ["DryRun", "Responding", "Run", "dry_run"]

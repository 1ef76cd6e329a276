"""`manage.py outbox`: what runs, what waits, what was given up; `--retry KEY` opens a dead letter again."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ema_server.ledger import outbox, queries, services
from ema_server.ledger.queries import Standing


class Command(BaseCommand):
    help = "Lists the work that is not done: dead letters, running, waiting, each with its age and its last error."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--retry", metavar="KEY", help="try this dead letter again, now")
        parser.add_argument("--kind", help="where two kinds have the same key: which one")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["retry"]:
            self._retry(options["retry"], options["kind"])
            return
        if options["kind"] is not None and not outbox.is_handled(options["kind"]):
            raise CommandError(f"There is no kind {options['kind']!r}; there are: {', '.join(outbox.kinds())}.")
        rows = [row for row in queries.standings() if options["kind"] in (None, row.job.kind)]
        if not rows:
            self.stdout.write("Nothing waits, nothing runs, nothing was given up.")
        for row in rows:
            self.stdout.write(_line(row))
        if any(row.state == "dead" for row in rows):
            self.stdout.write("\nOnce the cause is mended: manage.py outbox --retry KEY")

    def _retry(self, key: str, kind: str | None) -> None:
        dead = queries.dead().filter(key=key, **({"kind": kind} if kind else {}))
        found = list(dead)
        if not found:
            known = ", ".join(queries.dead().order_by("dead_at").values_list("key", flat=True)[:20])
            raise CommandError(
                f"There is no dead letter {key!r}; " + (f"there are: {known}." if known else "there is none at all.")
            )
        if len(found) > 1:
            kinds = ", ".join(sorted(job.kind for job in found))
            raise CommandError(f"{key!r} names {len(found)} dead letters; add --kind with one of: {kinds}.")
        services.retry(found[0])
        if outbox.is_handled(found[0].kind):
            outbox.ring(found[0].kind)
        self.stdout.write(f"{found[0]} is due now.")


def _line(row: Standing) -> str:
    job, words = row.job, []
    if row.state == "running":
        words += [f"attempt {job.attempts} on {job.leased_by}", job.progress]
    elif job.attempts:
        words += [f"{job.attempts} {'attempt' if job.attempts == 1 else 'attempts'}"]
    if not outbox.is_handled(job.kind):
        words += ["no handler in this version"]
    words += [job.last_error]
    said = "; ".join(word for word in words if word)
    return f"{row.state:<8}{_age(row.seconds):>7}  {job.kind} {job.key}" + (f"  ({said})" if said else "")


def _age(seconds: float) -> str:
    """For instance `12 s`, `5 min`, `3 h`, `2 d`; what is not due yet shows when it will be."""
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if size >= 2 * length:
            return f"{'in ' if seconds < 0 else ''}{size / length:.0f} {unit}"
    return f"{'in ' if seconds < 0 else ''}{size:.0f} s"

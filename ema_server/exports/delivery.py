"""An export from beginning to end: written down, read from one snapshot, handed on byte by byte, written down again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from django_scopes import scope

from ema_server.accounts.models import User
from ema_server.common import clock
from ema_server.common.snapshot import snapshot
from ema_server.exports import files, services
from ema_server.exports.contents import contents
from ema_server.exports.models import Export
from ema_server.exports.queries import State
from ema_server.exports.tabulation import Tallies
from ema_server.studies.models import Study


class Delivery:
    """Its bytes, once. Began when it is made; if nobody reads it to its end, it stays written down without one."""

    def __init__(
        self,
        *,
        study: Study,
        shape: str,
        format: str,
        state: State,
        with_text: bool,
        by: User | None,
        actor: str,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self._study, self._state, self._actor, self._progress = study, state, actor, progress
        with scope(study=study):
            what = contents(study, shape=shape, cutoff=state.cutoff, plan=state.plan, with_text=with_text)
            self.export = services.begin_export(
                study=study,
                shape=shape,
                format=format,
                cutoff=state.cutoff,
                with_text=with_text,
                by=by,
                actor=actor,
                now=clock.now(),
            )
        self.columns = len(what.variables)
        self.weight = what.weight

    @property
    def content_type(self) -> str:
        return files.TYPES[Export.Format(self.export.format)]

    @property
    def name(self) -> str:
        day = self._state.cutoff.strftime("%Y-%m-%d")
        return f"{self._study.slug}-{self.export.shape}-{day}{files.ENDINGS[Export.Format(self.export.format)]}"

    def __iter__(self) -> Iterator[bytes]:
        """No scope is open while bytes are handed on: whoever takes them has one of their own, or none."""
        export = self.export
        digest = hashlib.sha256()
        with snapshot():
            with scope(study=self._study):
                what = contents(
                    self._study,
                    shape=export.shape,
                    cutoff=export.cutoff,
                    plan=self._state.plan,
                    with_text=export.with_text,
                )
                tallies = Tallies(what.variables)
                parts = files.written(
                    what, export.format, tallies=tallies, progress=lambda done: self._progress(done, what.weight)
                )
            while True:
                with scope(study=self._study):
                    part = next(parts, None)
                if part is None:
                    break
                if part:
                    digest.update(part)
                    yield part
        with scope(study=self._study):
            services.finish_export(
                export=export, rows=tallies.rows, digest=digest.hexdigest(), actor=self._actor, now=clock.now()
            )

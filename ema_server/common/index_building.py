"""Building and dropping indexes in migrations while the server serves, so that an interrupted upgrade is finished by the next."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class BuildIndex(AddIndexConcurrently):
    """Adds an index without locking anybody out. What an interrupted build left, an index that PostgreSQL holds for invalid,
    goes first. It may wait for long transactions: nobody waits behind it."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self._ensure_not_in_transaction(schema_editor)
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('lock_timeout')")
            before = cursor.fetchone()[0]
            cursor.execute("SET lock_timeout = 0")
            try:
                cursor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{self.index.name}"')
                super().database_forwards(app_label, schema_editor, from_state, to_state)
            finally:
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [before])


def drop_index(index: str, on: str, field: migrations.AlterField) -> migrations.RunSQL:
    """Drops the index that a field had of its own, as the field is without it. `on`: its table and columns, to make it again."""
    return migrations.RunSQL(
        f'DROP INDEX CONCURRENTLY IF EXISTS "{index}"',
        f'CREATE INDEX CONCURRENTLY IF NOT EXISTS "{index}" ON {on}',
        state_operations=[field],
    )

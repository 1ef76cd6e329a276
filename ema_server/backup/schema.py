"""Bringing an empty database to the migrations that a backup was taken at, and on to those of this version."""

from __future__ import annotations

from django.apps import apps
from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from ema_server.backup import catalog
from ema_server.backup.archive import Manifest
from ema_server.common.errors import DomainError


class CannotMigrate(DomainError):
    code = "cannot_migrate"


def refuse_unknown(manifest: Manifest, alias: str) -> None:
    """A backup that knows migrations which this version does not was written by a newer one."""
    loader = MigrationExecutor(connections[alias]).loader
    known = set(loader.disk_migrations) | {
        pair for migration in loader.disk_migrations.values() for pair in migration.replaces
    }
    installed = {config.label for config in apps.get_app_configs()}
    unknown = [
        f"{app}.{name}"
        for app, names in manifest.migrations.items()
        for name in names
        if app in installed and (app, name) not in known
    ]
    unknown += [f"{app} ({len(names)})" for app, names in manifest.migrations.items() if app not in installed]
    if unknown:
        raise CannotMigrate(
            f"This backup was taken by version {manifest.code} and needs migrations that are not here: "
            f"{', '.join(unknown[:5])}{' …' if len(unknown) > 5 else ''}. Install that version, or a later one, and restore with it."
        )


def is_at(manifest: Manifest, alias: str) -> bool:
    """Whether the database has exactly the migrations that the backup was taken at."""
    return _as_set(catalog.migrations(alias)) == _as_set(manifest.migrations)


def rebuild(manifest: Manifest, alias: str) -> None:
    """Make an empty database's tables anew, as they were when the backup was taken. Interrupted, it is still empty."""
    for table in catalog.tables(alias):
        catalog.run(alias, f"DROP TABLE IF EXISTS {catalog.quoted(alias, table.name)} CASCADE")
    for function in catalog.own_functions(alias):
        catalog.run(alias, f"DROP FUNCTION IF EXISTS {function} CASCADE")
    executor = MigrationExecutor(connections[alias])
    nodes = executor.loader.graph.node_map
    wanted = {key for key in nodes if _is_wanted(executor.loader.graph.nodes[key], key, manifest)}
    last = [
        key
        for key in wanted
        if not any(child.key in wanted and child.key[0] == key[0] for child in nodes[key].children)
    ]
    executor.migrate(sorted(last))


def migrate_forward(alias: str) -> int:
    """On to this version, inside the caller's transaction; returns how many migrations that took."""
    executor = MigrationExecutor(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    for migration, _ in plan:
        if not migration.atomic:
            raise CannotMigrate(
                f"{migration} cannot run together with a restore. Restore with the version that took the backup, then upgrade."
            )
    if plan:
        catalog.run(alias, "SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks to come cannot be altered
        executor.migrate(executor.loader.graph.leaf_nodes())
    return len(plan)


def _is_wanted(migration: Migration, key: tuple[str, str], manifest: Manifest) -> bool:
    """Applied when the backup was taken, by itself or as all of those that it replaces."""
    applied = _as_set(manifest.migrations)
    return key in applied or (bool(migration.replaces) and all(tuple(pair) in applied for pair in migration.replaces))


def _as_set(migrations: dict[str, list[str]]) -> set[tuple[str, str]]:
    return {(app, name) for app, names in migrations.items() for name in names}

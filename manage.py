#!/usr/bin/env python
"""Django's command line. With no variable set it starts the servers that a command needs, and stops them again."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 (an older Python gets a sentence, not a trace)
    sys.exit(f"EMA server needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable}).")

WITHOUT_SERVERS = {
    "help", "--help", "-h", "version", "--version", "check", "check_survey", "convert_survey", "spectacular",
}  # fmt: skip


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
    try:
        return with_servers()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def with_servers() -> int:
    from ema_server.common.env import SettingError
    from ema_server.common.errors import DomainError
    from ema_server.embedded.commandline import ServersUnusable, servers

    try:
        if len(sys.argv) < 2 or sys.argv[1] in WITHOUT_SERVERS or "--help" in sys.argv:
            return run()
        if servers_are_given():
            read_settings()  # before their servers are tried, so that all that is wrong is named at once
        with servers():
            return run()
    except (ServersUnusable, SettingError) as error:
        print(error, file=sys.stderr)
        return 2
    except DomainError as error:  # a sentence for whoever typed the command, for instance a wrong master key
        print(error.detail, file=sys.stderr)
        return 1


def servers_are_given() -> bool:
    """Whether nothing embedded is used: both addresses are set, or must be."""
    production = os.environ.get("EMA_PRODUCTION", "").strip().lower() not in {"", "0", "false", "no", "off"}
    return production or bool(os.environ.get("DATABASE_URL") and os.environ.get("BROKER_URL"))


def read_settings() -> None:
    from django.conf import settings

    _ = settings.INSTALLED_APPS  # reading one reads them all


def run() -> int:
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())

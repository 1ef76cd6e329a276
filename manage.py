#!/usr/bin/env python
"""Django's command line. With no variable set it starts the servers that a command needs, and stops them again."""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 (an older Python gets a sentence, not a trace)
    sys.exit(f"EMA server needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable}).")

WITHOUT_SERVERS = {"help", "--help", "-h", "version", "--version", "check", "spectacular"}


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
    try:
        return with_servers()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def with_servers() -> int:
    from ema_server.embedded.commandline import ServersUnusable, servers

    try:
        if len(sys.argv) < 2 or sys.argv[1] in WITHOUT_SERVERS or "--help" in sys.argv:
            return run()
        with servers():
            return run()
    except ServersUnusable as error:
        print(error, file=sys.stderr)
        return 2


def run() -> int:
    from ema_server.common.env import SettingError

    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except SettingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

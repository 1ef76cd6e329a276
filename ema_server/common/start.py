"""The start of a process that serves: with settings that can be used, or not at all."""

from __future__ import annotations

import logging
import os
import sys

from django.conf import settings

from ema_server.common.env import SettingError


def read_settings(*, or_end_with: int = 2) -> None:
    """Read the settings; where they cannot be used, say why in plain sentences and end the process."""
    logging.captureWarnings(True)  # they may show values, which log lines leave out
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema_server.settings")
    try:
        _ = settings.INSTALLED_APPS
    except SettingError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(or_end_with)

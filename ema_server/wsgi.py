"""The web server's entrance."""

from __future__ import annotations

from django.core.wsgi import get_wsgi_application

from ema_server.common.start import read_settings

read_settings(or_end_with=3)  # gunicorn's status for "worker failed to boot": its master ends, too

application = get_wsgi_application()

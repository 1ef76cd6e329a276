"""Django settings, from the environment. With nothing set, everything runs on this machine out of `var/`."""

from __future__ import annotations

from pathlib import Path

from celery.schedules import schedule

from ema_server.common.addresses import BROKER_ACCEPTED, DATABASE_ACCEPTED, broker_from_url, database_from_url
from ema_server.common.env import (
    env_address,
    env_bool,
    env_choice,
    env_int,
    env_keys,
    env_list,
    env_secret,
    env_text,
    fault,
    is_set,
    refuse_faults,
)
from ema_server.common.logs import logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(env_text("EMA_VAR", str(BASE_DIR / "var"))).resolve()

PRODUCTION = env_bool("EMA_PRODUCTION", default=False)
DEBUG = env_bool("EMA_DEBUG", default=False)
if PRODUCTION and DEBUG:
    fault("EMA_DEBUG=1", "shows the server's inside to everybody and is refused in production", "EMA_DEBUG unset")
SECRET_KEY = env_secret("EMA_SECRET_KEY", VAR / "secret_key", at_least=50 if PRODUCTION else 0, required=PRODUCTION)
MASTER_KEYS = env_keys("EMA_MASTER_KEY", VAR / "keys" / "master.key", required=PRODUCTION)  # number → key, newest first
ALLOWED_HOSTS = env_list(
    "EMA_HOSTS",
    default=["localhost", "127.0.0.1", "[::1]"],
    required=PRODUCTION,
    accepted="the names under which the server is reached, with commas: ema.example.org",
)
if PRODUCTION and any("*" in host for host in ALLOWED_HOSTS):
    fault(f"EMA_HOSTS={','.join(ALLOWED_HOSTS)!r}", "answers to any name", "full names: ema.example.org")
ALLOWED_HOSTS = list(dict.fromkeys([*ALLOWED_HOSTS, "localhost", "127.0.0.1"]))  # health and metrics are asked here

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rules",
    "rest_framework",
    "drf_spectacular",
    "django_celery_beat",
    "ema_server.vault",
    "ema_server.ledger",
    "ema_server.accounts",
    "ema_server.studies",
    "ema_server.participants",
    "ema_server.sampling",
    "ema_server.responses",
    "ema_server.reports",
    "ema_server.erasure",
    "ema_server.backup",
    "ema_server.operations",
    "ema_server.demo",
]

MIDDLEWARE = [
    "ema_server.common.requests.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "ema_server.urls"
WSGI_APPLICATION = "ema_server.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "ema_server" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# `manage.py` sets the two addresses of the embedded servers where none is given.
DATABASES = {
    "default": env_address(
        "DATABASE_URL",
        "postgresql://127.0.0.1:5432/ema",
        database_from_url,
        accepted=DATABASE_ACCEPTED,
        required=PRODUCTION,
    ),
}
# The keys are beside the database, with `_keys` after its name, unless they have a server of their own.
DATABASES["keys"] = (
    env_address(
        "KEYS_DATABASE_URL", "postgresql://127.0.0.1:5432/ema_keys", database_from_url, accepted=DATABASE_ACCEPTED
    )
    if is_set("KEYS_DATABASE_URL")
    else {**DATABASES["default"], "NAME": f"{DATABASES['default']['NAME']}_keys"}
)
DATABASE_ROUTERS = ["ema_server.vault.router.KeyStoreRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "ema_server" / "static"]
WHITENOISE_USE_FINDERS = True  # serves straight from the source tree: no collectstatic, nothing to forget

DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024  # bytes; phones are told in the 413

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["ema_server.participants.authentication.DeviceAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ema_server.common.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "EMA server: phone API",
    "DESCRIPTION": "What a phone app sends and reads. Errors are RFC 9457 problem documents with a stable `code`.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
}

CELERY_BROKER_URL = env_address(
    "BROKER_URL", "redis://127.0.0.1:6379/0", broker_from_url, accepted=BROKER_ACCEPTED, required=PRODUCTION
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ROUTES = {"ema_server.reports.tasks.warm_up": {"queue": "analysis"}}
# A broker that is away, or hangs, holds nobody up for long: what must happen is in the outbox already. Seconds.
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, float] = {
    "socket_keepalive": True,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    "nights": {
        "task": "ema_server.reports.tasks.ask_for_nights",
        "schedule": schedule(30.0),
        "options": {"queue": "celery", "expires": 30},
    },
    "audit anchors": {
        "task": "ema_server.ledger.tasks.ask_for_anchors",
        "schedule": schedule(600.0),
        "options": {"queue": "celery", "expires": 600},
    },
    **{
        f"sweep {queue}": {
            "task": "ema_server.ledger.tasks.sweep",
            "args": [queue],
            "schedule": schedule(30.0),
            "options": {"queue": queue, "expires": 30},
        }
        for queue in ("celery", "analysis")
    },
}

# In production all goes over TLS, which the operator's proxy speaks. EMA_TLS=1 is the same for cookies alone, for a
# machine of one's own behind a proxy.
TLS = env_bool("EMA_TLS", default=PRODUCTION)
if PRODUCTION and not TLS:
    fault("EMA_TLS=0", "sends passwords and answers in the clear and is refused in production", "EMA_TLS unset")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TLS else None
SECURE_SSL_REDIRECT = PRODUCTION
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$", r"^metrics$"]  # asked on this machine, without the proxy
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "ema_server.common.problems.csrf_failure"

BIND = env_text(
    "EMA_BIND", "127.0.0.1:8000", pattern=r"\S+:\d{1,5}|unix:/\S+", accepted="127.0.0.1:8000 or unix:/run/ema.sock"
)
WEB_WORKERS = env_int("EMA_WEB_WORKERS", 2, at_least=1, at_most=64)
METRICS_TOKEN = env_secret("EMA_METRICS_TOKEN", None, at_least=20)  # empty: this machine alone may read /metrics
LOG_FORMAT = env_choice("EMA_LOG", "json" if PRODUCTION else "plain", ["json", "plain"])
LOGGING = logging_settings(LOG_FORMAT, debug=DEBUG)

refuse_faults()

"""Django settings, from the environment. With nothing set, everything runs on this machine out of `var/`."""

from __future__ import annotations

from pathlib import Path

from celery.schedules import schedule

from ema_server.common.env import (
    database_from_url,
    env_bool,
    env_list,
    env_master_keys,
    env_secret,
    env_text,
    keys_database_url,
)

BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(env_text("EMA_VAR", str(BASE_DIR / "var"))).resolve()

DEBUG = env_bool("EMA_DEBUG", default=False)
SECRET_KEY = env_secret("EMA_SECRET_KEY", kept_in=VAR / "secret_key")
ALLOWED_HOSTS = env_list("EMA_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
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
    "ema_server.backup",
    "ema_server.demo",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ema_server.common.problems.OutageMiddleware",
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
_database_url = env_text("DATABASE_URL", "postgresql://127.0.0.1:5432/ema")
DATABASES = {
    "default": database_from_url(_database_url),
    "keys": database_from_url(env_text("KEYS_DATABASE_URL", keys_database_url(_database_url))),
}
DATABASE_ROUTERS = ["ema_server.vault.router.KeyStoreRouter"]
MASTER_KEYS = env_master_keys("EMA_MASTER_KEY", kept_in=VAR / "keys" / "master.key")  # number → key, newest first
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

CELERY_BROKER_URL = env_text("BROKER_URL", "redis://127.0.0.1:6379/0")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ROUTES = {"ema_server.reports.tasks.warm_up": {"queue": "analysis"}}
# A broker that is away, or hangs, holds nobody up for long: what must happen is in the outbox already. Seconds.
CELERY_BROKER_TRANSPORT_OPTIONS = {
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

# Cookies go over TLS alone unless this is a machine of one's own; the operator's proxy speaks TLS.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env_bool("EMA_TLS", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env_bool("EMA_TLS", default=False) else None
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"ema_server": {"handlers": ["console"], "level": "INFO", "propagate": False}},
}

"""Django settings, from the environment. With nothing set, everything runs on this machine out of `var/`."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery.schedules import schedule
from csp.constants import NONE, SELF

from ema_server.api_words import SPECTACULAR_SETTINGS as SPECTACULAR_SETTINGS
from ema_server.common import single_sign_on
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
from ema_server.common.mail_url import ACCEPTED as MAIL_ACCEPTED
from ema_server.common.mail_url import mail_settings

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
for _host in ALLOWED_HOSTS:
    if not re.fullmatch(r"\*|\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]", _host):
        fault(
            f"EMA_HOSTS={_host!r}", "is no name of a server", "names alone, without https:// or a port: ema.example.org"
        )
    elif PRODUCTION and _host.startswith("."):
        fault(f"EMA_HOSTS={_host!r}", "answers to any name below it", "full names: ema.example.org")
ALLOWED_HOSTS = list(dict.fromkeys([*ALLOWED_HOSTS, "localhost", "127.0.0.1"]))  # health and metrics are asked here

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rules",
    "rest_framework",
    "drf_spectacular",
    "django_celery_beat",
    "csp",
    "axes",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.mfa",
    "allauth.usersessions",
    "ema_server.vault",
    "ema_server.ledger",
    "ema_server.accounts",
    "ema_server.studies",
    "ema_server.participants",
    "ema_server.messages",
    "ema_server.sampling",
    "ema_server.responses",
    "ema_server.reports",
    "ema_server.exports",
    "ema_server.imports",
    "ema_server.erasure",
    "ema_server.rights",
    "ema_server.backup",
    "ema_server.operations",
    "ema_server.demo",
]

MIDDLEWARE = [
    "ema_server.common.requests.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "ema_server.common.api_calls.ApiCalls",  # below /api/ nothing of what follows is asked
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",  # last: turns a lockout into its page, whatever the view answered
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
if all(DATABASES["keys"][part] == DATABASES["default"][part] for part in ("HOST", "PORT", "NAME")):
    fault("KEYS_DATABASE_URL", "names the database of the answers", "another database, best on another server")
DATABASE_ROUTERS = ["ema_server.vault.router.KeyStoreRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
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
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is no call of this API: 405
    "DEFAULT_SCHEMA_CLASS": "ema_server.common.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ema_server.common.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
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
    "decisions": {
        "task": "ema_server.sampling.tasks.judge_decisions",
        "schedule": schedule(60.0),
        "options": {"queue": "celery", "expires": 60},
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

# Accounts: allauth logs in by e-mail; axes counts guesses before a password is hashed.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
ACCOUNT_ADAPTER = "ema_server.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]  # nobody signs up: the adapter is closed, and no route is mounted
ACCOUNT_EMAIL_VERIFICATION = "none"  # an account's address is the one that was invited
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if TLS else "http"
ACCOUNT_RATE_LIMITS = {
    "login": "120/m/ip",  # a lab shares one address; axes counts passwords by account
    "login_failed": "10/15m/key",  # one-time codes, by account
}
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"
ACCOUNT_FORMS = {"login": "ema_server.accounts.forms.LogIn", "reset_password": "ema_server.accounts.forms.AskForReset"}
PASSWORD_RESET_TIMEOUT = 2 * 60 * 60
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if TLS else 0
SESSION_COOKIE_AGE = 14 * 24 * 60 * 60
SESSION_COOKIE_SAMESITE = "Lax"
USERSESSIONS_TRACK_ACTIVITY = False

MFA_ADAPTER = "ema_server.accounts.adapters.SecondFactorAdapter"
MFA_FORMS = {"authenticate": "ema_server.accounts.forms.Code", "reauthenticate": "ema_server.accounts.forms.CodeAgain"}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "EMA server"
MFA_TOTP_TOLERANCE = 1  # the step before and the step after: phones' clocks differ
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not TLS  # browsers themselves allow it on localhost alone
EMA_ADMIN_MFA = env_bool("EMA_ADMIN_MFA", default=True)

AXES_HANDLER = "ema_server.accounts.guesses.CountFirst"
AXES_LOCKOUT_PARAMETERS = "ema_server.accounts.guesses.by_account"
AXES_USERNAME_CALLABLE = "ema_server.accounts.guesses.account_of"
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_LOCKOUT_CALLABLE = "ema_server.accounts.views.locked_out"
AXES_CLIENT_IP_CALLABLE = "ema_server.accounts.guesses.address_of"
AXES_SENSITIVE_PARAMETERS = ["username", "login", "email", "ip_address", "code", "credential"]
AXES_VERBOSE = False
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False

SINGLE_SIGN_ON = single_sign_on.from_environment(os.environ)
for _name, _wrong, _accepted in SINGLE_SIGN_ON.faults:
    fault(_name, _wrong, _accepted)
INSTALLED_APPS += SINGLE_SIGN_ON.apps
SOCIALACCOUNT_ADAPTER = "ema_server.accounts.sign_on.SignOnAdapter"
SOCIALACCOUNT_PROVIDERS = SINGLE_SIGN_ON.providers
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""

# Rate limits and used one-time codes are shared by all processes: the broker's server, the database after the broker's.
_broker = urlsplit(CELERY_BROKER_URL)
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _broker._replace(path=f"/{int(_broker.path.strip('/') or 0) + 1}").geturl(),
        "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 2},
    }
}

# Mail
EMA_PUBLIC_URL = env_text(
    "EMA_PUBLIC_URL",
    f"https://{ALLOWED_HOSTS[0]}" if PRODUCTION else "http://localhost:8000",
    pattern=r"https?://[^/\s?#@]+/?",
    accepted="where links in mail lead: https://ema.example.org",
).rstrip("/")
if PRODUCTION and not EMA_PUBLIC_URL.startswith("https://"):
    fault("EMA_PUBLIC_URL", "sends the secrets of mailed links in the clear", "https://ema.example.org")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env_text("EMA_MAIL_FROM", "EMA server <ema-server@localhost>")
if not re.fullmatch(r"[^\s@<>,]+@[^\s@<>,]+", parseaddr(DEFAULT_FROM_EMAIL)[1]) or not DEFAULT_FROM_EMAIL.isprintable():
    fault(f"EMA_MAIL_FROM={DEFAULT_FROM_EMAIL!r}", "is no sender of mail", "one address: EMA server <ema@example.org>")
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"  # one file for each mail, where no server is named
EMAIL_FILE_PATH = VAR / "mail"
if _mail_url := env_text("EMA_MAIL_URL", ""):
    _mail, _wrong = mail_settings(_mail_url)
    if _wrong:
        fault("EMA_MAIL_URL", _wrong, MAIL_ACCEPTED)
    globals().update(_mail)

# Content security policy: our own files alone. Single sign-on starts by a link, so that no form leads elsewhere.
CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}

# Operators' records at /admin/
UNFOLD = {
    "SITE_TITLE": "EMA server",
    "SITE_HEADER": "EMA server",
    "SITE_SUBHEADER": "Operators’ records",
    "SITE_URL": "/",
    "SHOW_HISTORY": False,
    "SHOW_BACK_BUTTON": True,
    "COLORS": {
        "base": {
            "50": "#faf9f6", "100": "#f3f1ec", "200": "#e3e0d9", "300": "#cfcbc2", "400": "#959ba5", "500": "#6a707a",
            "600": "#535963", "700": "#3a3e45", "800": "#2e3238", "900": "#1b1e22", "950": "#131518",
        },
        "primary": {
            "50": "#eef5f2", "100": "#dcebe5", "200": "#bcd9cd", "300": "#84bba8", "400": "#5cc8ac", "500": "#45917d",
            "600": "#0c6b58", "700": "#0a5a4a", "800": "#08493c", "900": "#063a30", "950": "#04261f",
        },
    },
}  # fmt: skip
CSRF_FAILURE_VIEW = "ema_server.common.problems.csrf_failure"

BIND = env_text(
    "EMA_BIND", "127.0.0.1:8000", pattern=r"\S+:\d{1,5}|unix:/\S+", accepted="127.0.0.1:8000 or unix:/run/ema.sock"
)
WEB_WORKERS = env_int("EMA_WEB_WORKERS", 2, at_least=1, at_most=64)
if not BIND.startswith("unix:") and not 0 < int(BIND.rpartition(":")[2]) < 65536:
    fault(f"EMA_BIND={BIND!r}", "has a port that is no number from 1 to 65535", "127.0.0.1:8000")
METRICS_TOKEN = env_secret("EMA_METRICS_TOKEN", None, at_least=20)  # empty: this machine alone may read /metrics
LOG_FORMAT = env_choice("EMA_LOG", "json" if PRODUCTION else "plain", ["json", "plain"])
LOGGING = logging_settings(LOG_FORMAT, debug=DEBUG)

refuse_faults()

from django.apps import AppConfig


class ParticipantsConfig(AppConfig):
    name = "ema_server.participants"

    def ready(self) -> None:
        from ema_server.participants import openapi  # noqa: F401  (registers the scheme)

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "ema_server.accounts"

    def ready(self) -> None:
        from ema_server.accounts import factors  # noqa: F401 (connects allauth's signals)

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "ema_server.accounts"

    def ready(self) -> None:
        from ema_server.accounts import factors  # noqa: F401 (connects allauth's signals)
        from ema_server.ledger import outbox

        outbox.handles("password-reset-mail", "ema_server.accounts.mail.send_password_reset")

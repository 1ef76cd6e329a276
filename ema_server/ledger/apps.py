from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ema_server.ledger"

    def ready(self) -> None:
        from ema_server.celery import app

        app.set_default()  # whoever rings a task rings it through our broker

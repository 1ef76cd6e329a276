from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "ema_server.reports"

    def ready(self) -> None:
        from ema_server.celery import app

        app.set_default()  # whoever rings a task rings it through our broker

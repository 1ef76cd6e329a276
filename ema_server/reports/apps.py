from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "ema_server.reports"

    def ready(self) -> None:
        from ema_server.ledger import outbox

        # By name: the engine is imported by the worker that runs a night, not by every web process.
        outbox.handles("night", "ema_server.reports.services.do_night", queue="analysis")

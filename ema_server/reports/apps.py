from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "ema_server.reports"

    def ready(self) -> None:
        from ema_server.ledger import outbox
        from ema_server.reports import queries
        from ema_server.studies import publishing

        # By name: the engine is imported by the worker that runs a night, not by every web process.
        outbox.handles("night", "ema_server.reports.services.do_night", queue="analysis")
        outbox.handles("plan_forecast", "ema_server.reports.rehearsal.make_forecast", queue="analysis")
        publishing.guard(queries.locked_columns)

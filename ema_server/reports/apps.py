from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "ema_server.reports"

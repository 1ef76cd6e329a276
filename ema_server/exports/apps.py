from django.apps import AppConfig


class ExportsConfig(AppConfig):
    name = "ema_server.exports"

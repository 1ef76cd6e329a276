from django.apps import AppConfig


class ImportsConfig(AppConfig):
    name = "ema_server.imports"

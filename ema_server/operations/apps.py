from django.apps import AppConfig


class OperationsConfig(AppConfig):
    name = "ema_server.operations"

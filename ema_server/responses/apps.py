from django.apps import AppConfig


class ResponsesConfig(AppConfig):
    name = "ema_server.responses"

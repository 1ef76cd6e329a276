from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "ema_server.sampling"

from django.apps import AppConfig


class StudiesConfig(AppConfig):
    name = "ema_server.studies"

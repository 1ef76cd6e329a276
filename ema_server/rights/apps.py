from django.apps import AppConfig


class RightsConfig(AppConfig):
    name = "ema_server.rights"

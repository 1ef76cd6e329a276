from django.apps import AppConfig


class DemoConfig(AppConfig):
    name = "ema_server.demo"

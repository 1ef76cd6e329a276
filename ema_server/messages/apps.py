from django.apps import AppConfig


class MessagesConfig(AppConfig):
    name = "ema_server.messages"
    label = "ema_messages"  # "messages" is Django's own

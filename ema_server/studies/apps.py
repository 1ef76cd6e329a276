from django.apps import AppConfig


class StudiesConfig(AppConfig):
    name = "ema_server.studies"

    def ready(self) -> None:
        from ema_server.ledger import outbox
        from ema_server.studies import rules  # noqa: F401  (registers who may do what)

        outbox.handles("invitation-mail", "ema_server.studies.team.mail_invitation", max_attempts=24)  # most of a day

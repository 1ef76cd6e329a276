from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ema_server.ledger"

    def ready(self) -> None:
        from ema_server.celery import app
        from ema_server.common.restoring import after_restore
        from ema_server.ledger import audit, bond, outbox
        from ema_server.vault.services import bound_by

        app.set_default()  # whoever rings a task rings it through our broker
        bound_by(bond.bind)
        outbox.handles("audit anchors", "ema_server.ledger.audit.anchor_for")
        after_restore(audit.supersede_anchors)

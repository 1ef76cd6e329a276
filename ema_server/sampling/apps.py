from django.apps import AppConfig


class SamplingConfig(AppConfig):
    name = "ema_server.sampling"

    def ready(self) -> None:
        from ema_server.ledger import outbox
        from ema_server.participants.services import ARMS_CHANGED
        from ema_server.sampling import pausing, placing, plan_edits, services
        from ema_server.studies.services import CALLING_OFF

        outbox.handles(CALLING_OFF, services.call_off_silence, in_transaction=True)
        outbox.handles(pausing.PAUSE_ENDS, pausing.end_pause, in_transaction=True)
        outbox.handles(plan_edits.ROLL_OUT, plan_edits.roll_out_job)
        outbox.handles(ARMS_CHANGED, placing.follow_arms)

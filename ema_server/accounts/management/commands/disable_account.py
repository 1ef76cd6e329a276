from ema_server.accounts.management.commands._account import AccountCommand
from ema_server.accounts.models import User
from ema_server.accounts.services import disable_account


class Command(AccountCommand):
    help = "Close a researcher's account and end its sessions at once."

    def done(self, user: User, reason: str) -> str:
        disable_account(user=user, actor="server", reason=reason)
        return f"{user.email} is closed and logged out everywhere. enable_account opens it again."

"""PostgreSQL and Valkey out of their wheels, for whoever has set up neither. Imports no Django.

One supervisor owns both servers of a folder (`var/`). Everybody who uses them holds a shared lock; when nobody holds
it any more, also because they were killed, the supervisor stops both and ends.
"""

from ema_server.embedded.attach import EmbeddedError, Urls, attach

__all__ = ["EmbeddedError", "Urls", "attach"]

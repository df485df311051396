"""What of a process, beyond its server, goes to the next process in a takeover.

Every process has it. What makes the takeover is imported only where there may be one.
"""

import time

from scache_fast.process.listening import SocketFile
from scache_fast.process.main_process import Notices


class Holdings:
    """What of a process, beyond its server, goes to the next one in a takeover."""

    def __init__(self) -> None:
        self.refusal = ""
        """Why there can be no takeover; nothing: there can be one."""
        self.is_service = False
        """This is the main process of a service of systemd."""
        self.notices = Notices()
        """What systemd is told."""
        self.files: list[SocketFile] = []
        """The sockets for clients that this process made, and whose files it removes at its end."""
        self.admin_files: list[SocketFile] = []
        """That for operators, if this process made it."""
        self.turn_s_max = float("inf")
        """How long a turn may wait at most."""
        self.inheriting_until_s = 0.0
        """Until when, on the monotonic clock, the process before this one may pass on what it held for clients."""

    @property
    def is_inheriting(self) -> bool:
        """Say whether the process before this one may still have a session that comes back."""
        return time.monotonic() < self.inheriting_until_s

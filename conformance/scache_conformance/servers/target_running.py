"""A server that serves already, on a socket. It is not the suite's to start or to end."""

from pathlib import Path
from typing import Final

from scache_conformance.servers.target import Declared, Target
from scache_conformance.servers.unavailable import Unavailable


class RunningServer(Target):
    """A server that runs already. The suite does not end it."""

    def __init__(self, socket_path: Path, declared: Declared) -> None:
        """Touch nothing yet."""
        super().__init__(str(socket_path), declared)
        self._socket_path: Final = socket_path

    @property
    def socket_path(self) -> Path:
        """Name the socket it serves on."""
        return self._socket_path

    @property
    def pid(self) -> int | None:
        """Name the process that was declared."""
        return self.declared.pid

    @property
    def can_be_started(self) -> bool:
        """Tell that it cannot."""
        return False

    def start(self) -> None:
        """Insist that it takes connections."""
        self.check_alive(greeted=False)

    def stop(self) -> None:
        """Leave it alone."""

    def revive(self) -> None:
        """Raise Unavailable: it is not ours."""
        raise Unavailable(f"the server at {self._socket_path} is not the suite's to start again")

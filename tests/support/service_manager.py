"""A stand-in for systemd as the manager of one service: its notify socket, and its descriptor store."""

import array
import os
import select
import signal
import socket
from pathlib import Path
from typing import Final, Self

from tests.support.client import PATIENCE_S
from tests.support.processes import Running

_NOTICE_BYTES_MAX: Final = 4096
_DESCRIPTORS_MAX: Final = 253


class ServiceManager:
    """Keeps at most `capacity` descriptors, each file once, and passes the newest first, as systemd does.

    What it does not keep it closes, without a word to the service.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        self.path = path
        self.capacity = capacity
        self.stored: list[tuple[str, int]] = []
        """Names and descriptors, the newest first."""
        self.notices: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self.drop()

    def drop(self) -> None:
        """Close what is stored, as at the end of a service that is not restarted."""
        while self.stored:
            os.close(self.stored.pop()[1])

    @property
    def names(self) -> str:
        """Return the names as LISTEN_FDNAMES has them."""
        return ":".join(name for name, _ in self.stored)

    def end(self, server: Running, pid: int | None = None) -> list[str]:
        """Tell a service to end, and work on its notices until it has; return what it printed.

        `pid` is the process that is told, if it is another one.
        """
        pidfd = os.pidfd_open(server.pid)
        try:
            os.kill(server.pid if pid is None else pid, signal.SIGTERM)
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            poll.register(pidfd, select.POLLIN)
            has_ended = False
            while not has_ended:
                ready = poll.poll(PATIENCE_S * 1000)
                assert ready, "the server neither ends nor says anything"
                has_ended = any(descriptor == pidfd for descriptor, _ in ready)
                self.work()
        finally:
            os.close(pidfd)
        return server.wait()

    def work(self) -> None:
        """Work on every notice that has come."""
        while True:
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(
                    _NOTICE_BYTES_MAX, socket.CMSG_SPACE(4 * _DESCRIPTORS_MAX)
                )
            except BlockingIOError:
                return
            assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
            descriptors = [number for _, _, payload in ancillary for number in array.array("i", payload)]
            notice = dict(line.partition("=")[::2] for line in data.decode().splitlines())
            self.notices.append(notice)
            if notice.get("FDSTORE") == "1":
                for descriptor in descriptors:
                    self._keep(notice["FDNAME"], descriptor)
                continue
            if notice.get("FDSTOREREMOVE") == "1":
                for entry in [entry for entry in self.stored if entry[0] == notice["FDNAME"]]:
                    self.stored.remove(entry)
                    os.close(entry[1])
            for descriptor in descriptors:  # Among them that of a barrier.
                os.close(descriptor)

    def _keep(self, name: str, descriptor: int) -> None:
        file = os.fstat(descriptor)
        if len(self.stored) >= self.capacity or any(os.path.samestat(file, os.fstat(each)) for _, each in self.stored):
            os.close(descriptor)
        else:
            self.stored.insert(0, (name, descriptor))

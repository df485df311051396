"""Which process of a service is its main one, for systemd: it is told so when another process takes over.

systemd ends a service when its main process ends. So the process that is taken over names the one that takes over as
the main process (MAINPID=), and ends once systemd has worked on that. systemd believes the main process alone, and
accepts only a process of the service's own control group: one that ExecReload= has started.

Sources: sd_notify(3), sd_pid_notify_with_fds(3), systemd.service(5); service_is_suitable_main_pid in systemd's
service.c.
"""

import os
import select
import signal
import socket
import time
from typing import Final

NO_TAKEOVER: Final = (
    "systemd knows one main process of a service, and ends the others. A takeover is possible only from ExecReload= of "
    "the service's own unit, by 'systemctl reload scached'; otherwise use 'systemctl restart scached', which keeps "
    "what is parked if the unit sets FileDescriptorStoreMax="
)

STORE_NAME: Final = "scached-parked"
"""What the sockets are called that hold what is parked, in the descriptor store (FDNAME=, descriptor_store.py)."""

PATIENCE_S: Final = 5.0
"""How long the end of a process waits for systemd. Arbitrary."""


def is_in_our_control_group(pid: int) -> bool:
    """Say whether a process is in the control group of this one, False also if that is not known."""
    try:
        return _control_group(pid) == _control_group(os.getpid())
    except OSError:
        return False  # It has ended, or there is no /proc here.


def _control_group(pid: int) -> bytes:
    with open(f"/proc/{pid}/cgroup", "rb") as file:
        return file.read()


def detach() -> int:
    """Go on in a process of its own, which is a child of systemd; return a descriptor.

    systemd waits for the process that it has started. That one waits until something is written to the descriptor, and
    ends with status 0; it ends with status 1 if the descriptor is closed without that. Raises OSError.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # An end by a signal is no success.
        os._exit(0 if os.read(reader, 1) else 1)
    if os.fork():
        os._exit(0)  # systemd is the parent of what it leaves: it is told of the end of its own children at once.
    os.close(reader)
    return writer


class Notices:
    """The connection to systemd over which the main process of a service says how it is; it may be none.

    Only what says so waits. What cannot be sent is dropped: that systemd does not listen is none of the server's
    business.
    """

    def __init__(self, sock: socket.socket | None = None, watchdog_ns: int | None = None) -> None:
        self.sock = sock
        self.watchdog_ns = watchdog_ns
        """How often systemd wants to hear something at least."""
        self._successor: int | None = None
        """The process that is to be the main one."""
        self._is_told = False
        self._barrier: int | None = None
        """It hangs up when systemd has worked on that. It stays until the process ends."""
        self.is_adopted = False
        """Another process has begun with them."""

    @property
    def is_connected(self) -> bool:
        """Say whether there is anybody to tell."""
        return self.sock is not None

    @property
    def turn_s_max(self) -> float:
        """Return how long a turn of the loop may take, so that nothing is sent too late for the watchdog.

        Half the time is what sd_watchdog_enabled(3) recommends: one late turn is not a dead server.
        """
        return float("inf") if self.watchdog_ns is None else self.watchdog_ns / 2e9

    def adopt(self, sock: socket.socket, watchdog_ns: int | None) -> None:
        """Speak from now on for the process that had this connection."""
        if self.sock is not None:
            self.sock.close()
        self.sock, self.watchdog_ns = sock, watchdog_ns
        self.is_adopted = True

    def send(self, text: str) -> None:
        """Send a notice, unless another process is the main one."""
        if self.sock is not None and self._successor is None:
            self._sends(self.sock, text)

    # Another process is the main one.

    def name(self, pid: int) -> None:
        """Name the process that is the main one from now on, and send no other notice any more."""
        self._successor = pid
        if self.sock is not None:
            self._is_told = self._sends(self.sock, f"MAINPID={pid}")

    def is_known(self) -> bool:
        """Say whether systemd knows the process that was named; wait for that, for 5 s at most."""
        if self.sock is None:
            return True
        deadline_s = time.monotonic() + PATIENCE_S
        try:
            if not self._is_told:
                self.send_patiently(f"MAINPID={self._successor}", [], deadline_s)
                self._is_told = True
            if self._barrier is None:
                self._barrier = self._set_barrier(deadline_s)
            return happens(self._barrier, 0, deadline_s)
        except ConnectionError:
            return True  # Nobody listens any more.
        except OSError:
            return False

    # What may wait, up to an instant on the monotonic clock.

    def send_patiently(self, text: str, descriptors: list[int], deadline_s: float) -> None:
        """Send a notice with descriptors, of which our copies stay open; raises OSError."""
        assert self.sock is not None
        while True:
            try:
                socket.send_fds(self.sock, [text.encode()], descriptors)
            except BlockingIOError:
                if not happens(self.sock.fileno(), select.POLLOUT, deadline_s):
                    raise
            else:
                return

    def are_worked_on(self, deadline_s: float) -> bool:
        """Wait until systemd has worked on every notice so far; say whether it has. Raises OSError."""
        barrier = self._set_barrier(deadline_s)
        try:
            return happens(barrier, 0, deadline_s)
        finally:
            os.close(barrier)

    def _set_barrier(self, deadline_s: float) -> int:
        """Return a descriptor that hangs up when systemd has worked on every notice so far. Raises OSError."""
        reader, writer = os.pipe()
        try:
            self.send_patiently("BARRIER=1", [writer], deadline_s)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return reader

    def _sends(self, sock: socket.socket, text: str) -> bool:
        try:
            sock.send(text.encode())
        except OSError:
            return False  # EAGAIN, ECONNREFUSED: systemd is busy or gone.
        return True


def happens(descriptor: int, events: int, deadline_s: float) -> bool:
    """Say whether one of these events of poll(2), or a hang-up, comes before an instant on the monotonic clock."""
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000))

"""What is parked survives `systemctl restart`: one process leaves it with systemd, the next one takes it back.

systemd keeps a few sockets, whose queues hold everything (takeover/volume.py). It never waits for one of the parked
connections, compares none of them with each other, and passes the next process a few numbers.

Guarantees:

* Nothing is left with systemd while the server serves, so a process that is killed leaves nothing that was handed out.
* A connection is left only if it is known that closing it does not wait: systemd closes what nobody takes back.
* systemd answers no notice. What it kept is known by the writing ends of the sockets: one hangs up when nobody has
  its reading end any more. What was not kept is closed with its farewell, as at any other end.

Sources: sd_notify(3), sd_pid_notify_with_fds(3), systemd.service(5) on FileDescriptorStoreMax=, and
https://systemd.io/FILE_DESCRIPTOR_STORE.
"""

import socket
import time
from collections.abc import Sequence
from typing import Final

from scache_fast.engine import wire
from scache_fast.engine.server import Server
from scache_fast.process.logger import Logger
from scache_fast.process.main_process import PATIENCE_S, STORE_NAME, Notices, happens
from scache_fast.takeover import volume
from scache_fast.takeover.snapshot import SnapshotError
from scache_fast.takeover.volume import Contents, Volume
from scache_spec.vocabulary import Limits

_REFUSAL_S: Final = 0.1
"""How long after systemd has read a notice it may close what it does not keep, if it does not tell that it has a store.
Versions before 254 do not, and close at once; later ones without a store close in a thread of their own. Arbitrary."""


class DescriptorStore:
    """The descriptor store of the service that this process is.

    `carriers` are the sockets that came from it, which are closed by `restore`. `capacity` is how many it keeps, None
    if systemd does not say so. Where this process is not the main one of a service, and has not taken over from one, it
    leaves nothing.
    """

    def __init__(
        self, notices: Notices, carriers: Sequence[int], capacity: int | None, log: Logger, *, is_main_process: bool
    ) -> None:  # fmt: skip
        self._notices = notices
        self._carriers = carriers
        self._capacity = capacity
        self._log = log
        self._is_main_process = is_main_process

    # The start of a process.

    def restore(self, server: Server, first_reserved: int, now_ns: int) -> None:
        """Take in what the process before this one left, and empty the store.

        Descriptors get numbers below `first_reserved`. What has no room is closed.
        """
        if not self._carriers:
            return
        read = [self._read(carrier, server, first_reserved, now_ns) for carrier in self._carriers]
        found = [contents for contents in read if contents is not None]
        server.steering.let_go([*self._carriers])
        self._carriers = ()
        self._notices.send(f"FDSTOREREMOVE=1\nFDNAME={STORE_NAME}")  # If it does not arrive: what stays there is empty.
        if found:
            self._adopt(found, server)

    def _read(self, carrier: int, server: Server, first_reserved: int, now_ns: int) -> Contents | None:
        try:
            reader = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, carrier)
            try:
                room = first_reserved - wire.lowest_free(reader)
                return volume.read(reader, room, now_ns, server.steering.let_go)
            finally:
                reader.detach()
        except (SnapshotError, OSError) as error:
            self._log.warning(
                f"what the process before this one left with systemd is not understood and is closed: {error}"
            )
            return None

    def _adopt(self, found: list[Contents], server: Server) -> None:
        last_ns = max(each.left_ns for each in found)
        sessions = bindings = total = 0
        for contents in sorted(found, key=lambda each: each.number):
            if contents.left_ns != last_ns:
                # A process that ended before it read its store has left it to the one after it.
                server.steering.let_go([each.descriptor for each in contents.sessions])
                continue
            server.exchange.adopt_sessions(contents.sessions)  # LIFE-13
            for bound in contents.bindings:
                server.table.adopt_binding(*bound)  # LIFE-13
            sessions += len(contents.sessions)
            bindings += len(contents.bindings)
            total = contents.total
        self._log.info(f"{sessions} parked connections and {bindings} bindings are back from systemd")
        if sessions < total:
            self._log.warning(
                f"{total - sessions} parked connections that were left with systemd are lost: systemd has not passed "
                "them on, or this process may not have as many descriptors (LimitNOFILE=, descriptors_reserve)"
            )

    def check(self, limits: Limits, descriptors: int) -> None:
        """Warn if not everything that may be parked can be left."""
        sessions = min(limits.sessions_max, descriptors)
        wanted = volume.volumes_max(sessions, limits.bindings_max, limits.cached_bytes_max)
        if self._capacity is not None and self._capacity < wanted:
            self._log.warning(
                f"what is parked may not all survive a restart: set FileDescriptorStoreMax={wanted} instead of "
                f"{self._capacity}"
            )

    # The end.

    def leave(self, server: Server, now_ns: int) -> None:
        """Leave what is parked to the next process, and close our copies of what systemd has kept."""
        if not (self._is_main_process or self._notices.is_adopted) or server.exchange.is_left:
            return
        server.exchange.give_up()  # LIFE-13
        sessions = [each for each in server.table.parked() if not server.calls.may_wait(each.descriptor, each.domain)]
        bindings = server.table.bound()
        volumes: list[Volume] = []
        deadline_s = time.monotonic() + PATIENCE_S
        try:
            for each in volume.write(sessions, bindings, now_ns):
                volumes.append(each)
                notice = f"FDSTORE=1\nFDPOLL=0\nFDNAME={STORE_NAME}"
                self._notices.send_patiently(notice, [each.reader.fileno()], deadline_s)
        except OSError as error:
            self._log.warning(f"not all of what is parked can be left with systemd: {error.strerror}")
        reason: str | None = None
        try:
            if volumes and not self._notices.are_worked_on(deadline_s):
                reason = f"it has not answered for {PATIENCE_S:.0f} s"
        except OSError as error:
            reason = error.strerror
        if reason:
            self._log.warning(f"systemd may not keep what is parked: {reason}")
        for each in volumes:
            each.reader.close()
        kept = self._kept(volumes)
        for each in kept:
            for session in each.sessions:
                server.table.remove(session)  # LIFE-13
            server.exchange.close_copies(each.sessions)
        for each in volumes:
            each.writer.close()
        if kept:
            self._log.info(
                f"{sum(len(each.sessions) for each in kept)} parked connections are left with systemd, for the next "
                "process"
            )

    def _kept(self, volumes: list[Volume]) -> list[Volume]:
        """Return the volumes that somebody has."""
        deadline_s = time.monotonic() + (_REFUSAL_S if self._capacity is None else 0)
        return [each for each in volumes if not happens(each.writer.fileno(), 0, deadline_s)]

"""Every kind of file that a process can pass, in states that make it hard to close.

Each file is made when it is asked for. If this kernel does not make it, or not for this user, an error of one of the
types in `REFUSALS` is raised. Such an error is no verdict on a server.
"""

import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from scache_conformance.suite.files import connections, others
from scache_conformance.suite.files.workshop import LOOPBACK, Workshop, call, syscall
from scache_conformance.wire.line import identity

_SO_PASSPIDFD: Final = 76  # since Linux 6.5

FAMILIES: Final = {number: f"AF_{number}" for number in range(1, 46)} | {
    each.value: each.name for each in socket.AddressFamily if each.value
}
"""The address families that Linux had in 2024. Those that a kernel does not offer it refuses."""


def _device(name: str, flags: int, shop: Workshop) -> int:
    return os.open(f"/dev/{name}", flags | os.O_NOCTTY | os.O_NONBLOCK)


def _bare(family: int, type_: int, shop: Workshop) -> int:
    return socket.socket(family, type_).detach()


_STREAM, _DGRAM, _PACKETS = socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET
_TYPES: Final = (_STREAM, _DGRAM, _PACKETS, socket.SOCK_RAW, socket.SOCK_RDM)

KINDS: Final[dict[str, Callable[[Workshop], int]]] = {
    # Connections, in every state.
    "tcp": lambda shop: shop.tcp()[1].detach(),
    "tcp over IPv6": lambda shop: shop.tcp(socket.AF_INET6, "::1")[1].detach(),
    "tcp, listening": lambda shop: socket.create_server((LOOPBACK, 0)).detach(),
    "tcp, its peer has shut down sending": connections.half_closed,
    "tcp, shut down": connections.shut_down,
    "tcp, deaf": lambda shop: connections.deaf(*shop.tcp()),
    "tcp, aborted": connections.aborted,
    "tcp, connecting": connections.connecting,
    "tcp, with urgent data": connections.urgent,
    "tcp, to linger, with nothing unsent": lambda shop: connections.with_option(
        shop.tcp()[1], socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5)
    ),
    "tcp, corked": lambda shop: connections.with_option(shop.tcp()[1], socket.IPPROTO_TCP, socket.TCP_CORK),
    "tcp, multipath": lambda shop: socket.socket(socket.AF_INET, _STREAM, 262).detach(),
    "sctp": lambda shop: socket.socket(socket.AF_INET, _STREAM, socket.IPPROTO_SCTP).detach(),
    "udp, with an error pending": connections.refused_datagram,
    "udp, in a multicast group": connections.multicast,
    "udp, corked": connections.corked_datagram,
    "icmp, raw": lambda shop: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).detach(),
    "icmp, datagrams": lambda shop: socket.socket(socket.AF_INET, _DGRAM, socket.IPPROTO_ICMP).detach(),
    "unix stream": lambda shop: shop.pair()[1].detach(),
    "unix stream, its peer gone": connections.unix_orphan,
    "unix stream, deaf": lambda shop: connections.deaf(*shop.pair()),
    "unix stream, with urgent data": connections.unix_urgent,
    "unix stream, listening, with a client that brought it": connections.unix_listening,
    "unix stream, told who sends": lambda shop: connections.with_option(
        shop.pair()[1], socket.SOL_SOCKET, socket.SO_PASSCRED
    ),
    "unix stream, given the process that sends": lambda shop: connections.with_option(
        shop.pair()[1], socket.SOL_SOCKET, _SO_PASSPIDFD
    ),
    "unix datagrams": lambda shop: shop.pair(_DGRAM)[1].detach(),
    "unix datagrams, deaf": lambda shop: connections.deaf(*shop.pair(_DGRAM)),
    "unix packets": lambda shop: shop.pair(_PACKETS)[1].detach(),
    "unix stream that carries itself": connections.carrying_itself,
    "unix streams that carry each other": connections.two_that_carry_each_other,
    "unix stream that carries one that carries one, and so on": connections.carrying_a_chain,
    "unix stream that carries a directory": connections.carrying_a_directory,
    "a connection to the server itself": connections.connection_to_the_server,
    "netlink, in a group": connections.netlink_group,
    "netlink, with a list that is not read": connections.netlink_list,
    "packets of a network card": connections.packet_bound,
    "packets of a network card, in a ring of memory": connections.packet_ring,
    "vsock, listening": connections.vsock_listening,
    # Pipes and terminals.
    "pipe, reading end": lambda shop: others.pipe(shop, 0),
    "pipe, writing end": lambda shop: others.pipe(shop, 1),
    "pipe, writing end, full": lambda shop: others.pipe(shop, 1, full=True),
    "pipe of packets": lambda shop: others.pipe(shop, 0, flags=os.O_DIRECT),
    "fifo": others.fifo,
    "terminal, master": lambda shop: others.terminal(shop, master=True),
    "terminal": lambda shop: others.terminal(shop, master=False),
    "terminal, its master gone": lambda shop: others.terminal(shop, master=False, alone=True),
    "terminal, master, in packet mode, its output stopped": others.packet_terminal,
    "terminal, its output stopped": lambda shop: others.terminal(shop, master=False, stopped=True),
    # Files.
    "file, for reading": lambda shop: shop.file(os.O_RDONLY),
    "file, for appending": lambda shop: shop.file(os.O_WRONLY | os.O_APPEND),
    "file, synchronous": lambda shop: shop.file(os.O_RDWR | os.O_SYNC),
    "file, locked": others.locked,
    "file, leased": others.leased,
    "file, by its path alone": lambda shop: shop.file(os.O_PATH),
    "file without a name": lambda shop: os.open(shop.folder, os.O_TMPFILE | os.O_RDWR),
    "directory": lambda shop: os.open("/", os.O_RDONLY),
    "directory, with a signal for each change": others.notifying,
    "directory, by its path alone": lambda shop: os.open("/", os.O_PATH),
    "symbolic link": lambda shop: os.open("/proc/self/exe", os.O_PATH | os.O_NOFOLLOW),
    "file in user space": others.well_behaved,
    "memory": lambda shop: os.memfd_create("memory"),
    "memory, sealed": others.sealed,
    "memory, large": others.large,
    "memory, in huge pages": lambda shop: os.memfd_create("huge", os.MFD_HUGETLB),
    "memory, secret": lambda shop: syscall("memfd_secret", 0),
    # What the kernel makes without a file behind it.
    "event counter": lambda shop: os.eventfd(1),
    "timer": others.timer,
    "signals": others.signals,
    "epoll": others.epoll,
    "epoll that watches a socket": lambda shop: others.epoll(shop, shop.keep(shop.pair()[1]).fileno()),
    "epoll that watches an epoll": lambda shop: others.epoll(shop, shop.keep_fd(others.epoll(shop))),
    "epoll at the end of a chain of five": others.epoll_chain,
    "inotify": others.watched_folder,
    "fanotify": lambda shop: call("fanotify_init", 0, os.O_RDONLY),
    "userfaultfd": lambda shop: syscall("userfaultfd", os.O_CLOEXEC | 1),
    "process": lambda shop: others.pidfd(shop, alive=True),
    "process, dead": lambda shop: others.pidfd(shop, alive=False),
    "queue of messages": others.queue,
    "io_uring": lambda shop: syscall("io_uring_setup", 4, bytes(120)),
    "bpf map": others.bpf_map,
    "performance counter": others.perf,
    "landlock rules": others.landlock,
    "file system, not mounted": lambda shop: syscall("fsopen", b"tmpfs", 0),
    "mount": lambda shop: syscall("open_tree", -100, b"/", 0),
    "network namespace": lambda shop: os.open("/proc/self/ns/net", os.O_RDONLY),
    "user namespace": lambda shop: os.open("/proc/self/ns/user", os.O_RDONLY),
    "process's memory": lambda shop: os.open("/proc/self/mem", os.O_RDWR),
    "process's maps": lambda shop: os.open("/proc/self/maps", os.O_RDONLY),
    "process's folder": lambda shop: os.open("/proc/self", os.O_RDONLY),
    "kernel setting": lambda shop: os.open("/proc/sys/kernel/osrelease", os.O_RDONLY),
    "attribute of a device": lambda shop: os.open("/sys/class/net/lo/mtu", os.O_RDONLY),
    **{
        f"/dev/{name}": partial(_device, name, flags)
        for name, flags in (
            ("null", os.O_RDWR), ("zero", os.O_RDWR), ("full", os.O_RDWR), ("random", os.O_RDONLY),
            ("urandom", os.O_RDONLY), ("ptmx", os.O_RDWR), ("tty", os.O_RDWR), ("kmsg", os.O_RDONLY),
            ("fuse", os.O_RDWR), ("net/tun", os.O_RDWR), ("kvm", os.O_RDWR), ("vsock", os.O_RDONLY),
        )
    },
    # Sockets of every family and type, as they are made.
    **{
        f"{family} {type_.name}": partial(_bare, number, type_)
        for number, family in FAMILIES.items() for type_ in _TYPES
    },
}  # fmt: skip
"""How each kind is made, by name."""


def describe(names: Sequence[str]) -> str:
    """Return a list of kinds for people: a family of sockets is named once, if all of its types are in the list."""
    types = [f" {type_.name}" for type_ in _TYPES]
    whole = [family for family in FAMILIES.values() if all(family + type_ in names for type_ in types)]
    families = f"sockets of {', '.join(each.removeprefix('AF_') for each in whole)}"
    rest = [name for name in names if name.partition(" SOCK_")[0] not in whole]
    return "; ".join([*rest, *([families] if whole else [])]) or "none"


class Made:
    """A file of some kind, open here until it is closed. Raises one of `REFUSALS`, also where it cannot be passed."""

    def __init__(self, name: str, shop: Workshop) -> None:
        """Make it."""
        self.name: Final = name
        self.fd: Final = KINDS[name](shop)
        self._is_open = True
        shop.opened.callback(self.close)
        with ExitStack() as trial:
            near, _ = (trial.enter_context(each) for each in socket.socketpair())
            socket.send_fds(near, [b"x"], [self.fd])  # what rides in a queue that is closed is closed

    def close(self) -> None:
        """Close our copy, if it is open still."""
        if self._is_open:
            self._is_open = False
            os.close(self.fd)

    def is_the_same_as(self, fd: int) -> bool:
        """Tell whether a descriptor refers to the same open file: by the kernel's word if it gives it."""
        pid = os.getpid()
        try:
            return syscall("kcmp", pid, pid, 0, self.fd, fd) == 0
        except OSError:
            return identity(self.fd) == identity(fd)

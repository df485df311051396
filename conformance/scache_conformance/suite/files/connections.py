"""Sockets that can be passed, in states that make them hard to close."""

import contextlib
import os
import socket
import struct
from typing import Final

from scache_conformance.suite.files.workshop import LOOPBACK, Workshop

_ENOUGH_BYTES: Final = 1 << 22
"""More than any buffer of a connection takes. Arbitrary."""


_CHAIN: Final = 4
"""How many sockets carry each other in a row: older kernels allow no more."""

_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_UDP_CORK: Final = 1  # <linux/socket.h>, <linux/if_packet.h>, <linux/udp.h>: the socket module names none of these


def deaf(near: socket.socket, far: socket.socket) -> int:
    """Return the far end, with its buffers full: nobody reads."""
    far.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(_ENOUGH_BYTES // 4096):
            far.send(bytes(4096))
    return far.detach()


def carrying_a_directory(shop: Workshop) -> int:
    near, far = shop.pair()
    socket.send_fds(near, [b"x"], [shop.keep_fd(os.open("/", os.O_RDONLY))])
    return far.detach()


def carrying_itself(shop: Workshop) -> int:
    near, far = shop.pair()
    socket.send_fds(near, [b"x"], [far.fileno()])
    return far.detach()


def two_that_carry_each_other(shop: Workshop) -> int:
    (near, far), (other_near, other_far) = shop.pair(), shop.pair()
    socket.send_fds(near, [b"x"], [other_far.fileno()])
    socket.send_fds(other_near, [b"x"], [far.fileno()])
    other_far.close()
    return far.detach()


def aborted(shop: Workshop) -> int:
    near, far = shop.tcp()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()
    return far.detach()


def connecting(shop: Workshop) -> int:
    full = shop.keep(socket.create_server((LOOPBACK, 0), backlog=0))
    tries = [socket.socket() for _ in range(3)]  # a queue of 0 takes one or two; the last's SYN is not answered
    for each in tries:
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    far = tries.pop()
    for each in tries:
        shop.keep(each)
    return far.detach()


def refused_datagram(shop: Workshop) -> int:
    """Return a socket with an error pending: nobody listened where it sent to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind((LOOPBACK, 0))
        address = nobody.getsockname()
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.connect(address)
    far.send(b"x")
    return far.detach()


def multicast(shop: Workshop) -> int:
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    membership = socket.inet_aton("224.0.0.251") + socket.inet_aton(LOOPBACK)
    far.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    return far.detach()


def urgent(shop: Workshop) -> int:
    near, far = shop.tcp()
    near.send(b"x", socket.MSG_OOB)
    return far.detach()


def unix_urgent(shop: Workshop) -> int:
    near, far = shop.pair()
    near.send(b"x")
    near.send(b"x", socket.MSG_OOB)  # Linux 5.15
    return far.detach()


def corked_datagram(shop: Workshop) -> int:
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.connect((LOOPBACK, 9))
    far.setsockopt(socket.IPPROTO_UDP, _UDP_CORK, 1)
    far.send(b"never sent")
    return far.detach()


def half_closed(shop: Workshop) -> int:
    near, far = shop.tcp()
    near.shutdown(socket.SHUT_WR)
    return far.detach()


def shut_down(shop: Workshop) -> int:
    _, far = shop.tcp()
    far.shutdown(socket.SHUT_RDWR)
    return far.detach()


def with_option(far: socket.socket, level: int, option: int, value: int | bytes = 1) -> int:
    far.setsockopt(level, option, value)
    return far.detach()


def unix_listening(shop: Workshop) -> int:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(shop.folder / "listening"))
    listener.listen()
    waiting = shop.keep(socket.socket(socket.AF_UNIX))
    waiting.connect(str(shop.folder / "listening"))
    socket.send_fds(waiting, [b"x"], [listener.fileno()])
    return listener.detach()


def unix_orphan(shop: Workshop) -> int:
    near, far = shop.pair()
    near.close()
    return far.detach()


def connection_to_the_server(shop: Workshop) -> int:
    far = shop.keep(socket.socket(socket.AF_UNIX))
    far.connect(str(shop.server))
    return os.dup(far.fileno())


def vsock_listening(shop: Workshop) -> int:
    far = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    far.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    far.listen()
    return far.detach()


def packet_bound(shop: Workshop) -> int:
    far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    far.bind(("lo", 3))  # ETH_P_ALL: every packet is put into its queue
    return far.detach()


def packet_ring(shop: Workshop) -> int:
    far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    far.setsockopt(_SOL_PACKET, _PACKET_RX_RING, struct.pack("4I", 65_536, 4, 2048, 128))
    far.bind(("lo", 3))
    return far.detach()


def netlink_list(shop: Workshop) -> int:
    """Return a socket that was asked for all routes: the kernel goes on with the list as it is read."""
    far = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    far.send(struct.pack("=IHHII12x", 28, 26, 0x301, 1, 0))  # RTM_GETROUTE; NLM_F_REQUEST, NLM_F_DUMP
    return far.detach()


def carrying_a_chain(shop: Workshop) -> int:
    carried = shop.pair()[1]
    for _ in range(_CHAIN):
        near, far = socket.socketpair()
        with near, carried:
            socket.send_fds(near, [b"x"], [carried.fileno()])
        carried = far
    return carried.detach()


def netlink_group(shop: Workshop) -> int:
    far = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    far.bind((0, 1))
    return far.detach()

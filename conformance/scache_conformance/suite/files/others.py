"""Files that are no sockets: pipes, terminals, files of a folder, and what has no file behind it."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time

from scache_conformance.suite.files.fuse import Fuse
from scache_conformance.suite.files.workshop import Workshop, call, syscall
from scache_conformance.wire import processes


def pipe(shop: Workshop, end: int, *, full: bool = False, flags: int = 0) -> int:
    ends = os.pipe2(flags | os.O_NONBLOCK)
    shop.keep_fd(ends[1 - end])
    if full:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(ends[1], bytes(4096))
    return ends[end]


def fifo(shop: Workshop) -> int:
    os.mkfifo(shop.folder / "fifo")
    return os.open(shop.folder / "fifo", os.O_RDWR)


def locked(shop: Workshop) -> int:
    fd = shop.file()
    fcntl.flock(fd, fcntl.LOCK_EX)
    fcntl.lockf(fd, fcntl.LOCK_EX)
    return fd


def leased(shop: Workshop) -> int:
    fd = shop.file(os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    return fd


def terminal(shop: Workshop, *, master: bool, alone: bool = False, stopped: bool = False) -> int:
    ends = os.openpty()
    other = ends[1] if master else ends[0]
    if stopped:
        os.set_blocking(ends[1], False)
        termios.tcflow(ends[1], termios.TCOOFF)
        with contextlib.suppress(BlockingIOError):
            os.write(ends[1], b"never written out")
    if alone:
        os.close(other)
    else:
        shop.keep_fd(other)
    return ends[0] if master else ends[1]


def packet_terminal(shop: Workshop) -> int:
    master, terminal = os.openpty()
    shop.keep_fd(terminal)
    fcntl.ioctl(master, termios.TIOCPKT, struct.pack("i", 1))
    termios.tcflow(terminal, termios.TCOOFF)  # which the master reads as a packet of one byte
    return master


def notifying(shop: Workshop) -> int:
    fd = os.open(shop.folder, os.O_RDONLY)
    fcntl.fcntl(
        fd, fcntl.F_NOTIFY, fcntl.DN_ATTRIB | fcntl.DN_MULTISHOT
    )  # Nobody changes an attribute: no signal comes.
    return fd


def pidfd(shop: Workshop, *, alive: bool) -> int:
    with processes.STARTING:
        child = subprocess.Popen(["sleep", "60" if alive else "0"])
    fd = os.pidfd_open(child.pid)
    if not alive:
        child.wait()
    else:
        shop.opened.callback(child.wait)
        shop.opened.callback(child.kill)
    return fd


def epoll(shop: Workshop, *watched: int) -> int:
    with select.epoll() as made:
        for fd in watched:
            made.register(fd)
        return os.dup(made.fileno())


def epoll_chain(shop: Workshop) -> int:
    last = shop.keep_fd(epoll(shop))
    for _ in range(3):
        last = shop.keep_fd(epoll(shop, last))
    return epoll(shop, last)


def timer(shop: Workshop) -> int:
    fd = call("timerfd_create", time.CLOCK_MONOTONIC, 0)
    spec = struct.pack("=4q", 0, 1_000_000, 0, 1_000_000)  # every millisecond
    call("timerfd_settime", fd, 0, spec, None)
    return fd


def watched_folder(shop: Workshop) -> int:
    fd = call("inotify_init1", 0)
    call("inotify_add_watch", fd, str(shop.folder).encode(), 0xFFF)
    (shop.folder / "noticed").touch()
    return fd


def queue(shop: Workshop) -> int:
    name = f"/scache-conformance-{os.getpid()}-{time.monotonic_ns()}".encode()
    fd = call("mq_open", name, os.O_RDWR | os.O_CREAT, 0o600, None)
    call("mq_unlink", name)
    return fd


def sealed(shop: Workshop) -> int:
    fd = os.memfd_create("sealed", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)
    return fd


def large(shop: Workshop) -> int:
    fd = os.memfd_create("large")
    for _ in range(64):
        os.write(fd, bytes(1 << 20))
    return fd


def signals(shop: Workshop) -> int:
    return call("signalfd", -1, bytes(128), 0)


def bpf_map(shop: Workshop) -> int:
    return syscall("bpf", 0, struct.pack("=5I", 2, 4, 4, 1, 0).ljust(72, b"\0"), 72)  # BPF_MAP_CREATE, an array


def perf(shop: Workshop) -> int:
    return syscall("perf_event_open", struct.pack("=IIQ", 1, 112, 0).ljust(112, b"\0"), 0, -1, -1, 0)  # software clock


def landlock(shop: Workshop) -> int:
    return syscall("landlock_create_ruleset", struct.pack("=Q", 1), 8, 0)


def well_behaved(shop: Workshop) -> int:
    return shop.keep(Fuse()).open()

"""What `python -m tests.packages.debian` runs as root in a Debian of its own, with nothing but Debian's Python.

    python3 inside.py FOLDER

The packages are in FOLDER. Each step prints a line; the first one that fails raises, and nothing after it is tried.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

SOCKET: Final = "/run/scached/scached.sock"
SETTINGS: Final = Path("/etc/scached.toml")

RESTARTS: Final = 20
"""As upgrades in a row may ask for; systemd's own limit would be 5 in 10 s."""

TAKEOVERS: Final = 10
"""Takeovers in a row in one unit."""

TRIES: Final = 7
"""Tries to start with a wrong configuration. systemd's own limit is 5 in 10 s, and the socket unit fails with them."""

CONNECTS: Final = 50
"""Clients that come between two tries, each of which is a reason for systemd to try again. Its limit is 20 in 2 s."""

PARK_AND_TAKE: Final = f"""
import socket
from scache_client import Client
near, far = socket.socketpair()
with Client({SOCKET!r}) as cache:
    cache.save_endp(b"label", b"properties", ttl_s=20, connection=near)
with Client({SOCKET!r}) as cache:
    found = cache.find_endp(b"label")
assert found is not None
with found.socket() as sock:
    sock.sendall(b"still open")
assert far.recv(100) == b"still open"
"""

RELOAD: Final = f"""
import socket, subprocess
from scache_client import Client
near, far = socket.socketpair()
with Client({SOCKET!r}) as before, Client({SOCKET!r}) as finder:
    before.save_endp(b"label", b"properties", ttl_s=20, connection=near)
    near.close()
    subprocess.run(["systemctl", "reload", "scached.service"], check=True)
    found = finder.find_endp(b"label")
    assert found is not None
    with found.socket() as sock:
        sock.sendall(b"still open")
        assert far.recv(100) == b"still open"
"""
"""A takeover: a client that connected before, and what it parked, are served by the new process."""

DROP_IN: Final = Path("/etc/systemd/system/scached.service.d/takeover.conf")

PARKED: Final = 10_000
"""Connections that survive a restart."""

TTL_S: Final = 600
"""Long enough for a busy machine. The settings of the package allow 30 s."""

STANDS_STILL: Final = Path("/run/systemd/system/scached.service.d/stands-still.conf")
MAY_START: Final = Path("/run/may-start")
"""While it is not there, each start of the service fails before the server runs, and is tried again."""

SURVIVES: Final = f"""
import resource, socket, subprocess, time
from pathlib import Path
from scache_client import Client

def shown(name):
    command = ["systemctl", "show", f"--property={{name}}", "--value", "scached.service"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()

def await_shown(name, value):
    while shown(name) != value:
        time.sleep(0.05)

def used_s(pid):
    times = Path(f"/proc/{{pid}}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / 100

resource.setrlimit(resource.RLIMIT_NOFILE, 2 * resource.getrlimit(resource.RLIMIT_NOFILE)[1:])
listener = socket.create_server(("127.0.0.1", 0))
fars = []
with Client({SOCKET!r}) as cache:
    for number in range({PARKED}):
        near = socket.create_connection(listener.getsockname())
        fars.append(listener.accept()[0])
        again = near.dup()
        cache.save_endp(b"%d" % (number % 100), b"%d" % number, ttl_s={TTL_S}, connection=near)
        if number == 0:
            cache.save_endp(b"twice", b"", ttl_s={TTL_S}, connection=again)
        again.close()
        near.close()
    cache.save_dest(b"destination", b"", b"1", ttl_s={TTL_S})
began_s, before_s, process = time.monotonic(), used_s(1), shown("MainPID")
subprocess.run(["systemctl", "restart", "--no-block", "scached.service"], check=True)
await_shown("NRestarts", "1")
kept = shown("NFileDescriptorStore")
fars[7].close()
Path({str(MAY_START)!r}).touch()
await_shown("SubState", "running")
assert shown("MainPID") != process
await_shown("NFileDescriptorStore", "0")
print(f"{{kept}} entries; systemd used {{used_s(1) - before_s:.2f}} s; it took {{time.monotonic() - began_s:.1f}} s")
with Client({SOCKET!r}) as cache:
    for number in range({PARKED}):
        found = cache.find_dest(b"destination") if number == 1 else cache.find_endp(b"%d" % (number % 100))
        assert found is not None, number
        with found.socket() as near:
            if number == 7:
                assert near.recv(1) == b""
                continue
            near.sendall(b"%d" % number)
            assert fars[number].recv(10) == b"%d" % number
    with cache.find_endp(b"twice").socket() as near:
        near.sendall(b"twice")
        assert fars[0].recv(10) == b"twice"
    assert cache.find_endp(b"0") is None
"""
"""One process that parks, watches the restart, and finds. Another one would lose the far ends."""

IS_KEPT: Final = f"""
import socket, subprocess, sys
from scache_client import Client
near, far = socket.socketpair()
with Client({SOCKET!r}) as cache:
    cache.save_endp(b"kept", b"properties", ttl_s={TTL_S}, connection=near)
near.close()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
with Client({SOCKET!r}) as cache:
    found = cache.find_endp(b"kept")
assert found is not None
with found.socket() as near:
    near.sendall(b"still open")
assert far.recv(100) == b"still open"
"""
"""A command that closes nothing."""

IS_CLOSED: Final = f"""
import socket, subprocess, sys
from scache_client import Client
with socket.create_server(("127.0.0.1", 0)) as listener:
    near = socket.create_connection(listener.getsockname())
    far, _ = listener.accept()
with Client({SOCKET!r}) as cache:
    cache.save_endp(b"closed", b"", ttl_s={TTL_S}, connection=near)
near.close()
subprocess.run(sys.argv[2:], check=True)
received = b""
while part := far.recv(100):
    received += part
assert received == sys.argv[1].encode(), received
with Client({SOCKET!r}) as cache:
    assert cache.find_endp(b"closed") is None
"""
"""A command that closes what is parked, for its peer too, which receives this before."""

CONNECT: Final = f"""
import socket
for _ in range({CONNECTS}):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect({SOCKET!r})
"""

SHIPPED: Final = (
    "/usr/share/man/man1/scache-conformance.1.gz", "/usr/share/man/man1/scache-reference.1.gz",
    "/usr/share/man/man1/scachectl.1.gz",
    "/usr/share/man/man5/scached.toml.5.gz", "/usr/share/man/man7/scache-protocol.7.gz",
    "/usr/share/man/man7/scached-messages.7.gz", "/usr/share/man/man8/scached.8.gz",
    "/usr/share/bash-completion/completions/scachectl", "/usr/share/zsh/vendor-completions/_scachectl",
    "/usr/share/doc/scached/messages.md", "/usr/share/doc/scached/metrics.md",
    "/usr/share/doc/scached/grafana/scached.json", "/usr/share/doc/scached/prometheus/alerts.yml",
)  # fmt: skip
"""What is there beside the programs."""

OTHERS: Final = ("/proc", "/sys", "/dev", "/run", "/tmp", "/mnt", "/var/cache", "/var/log", "/var/lib", "/var/tmp")
"""Where files come and go without us, or, as those of apt and dpkg, tell what was once installed."""

USERS: Final = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")


def main(folder: Path) -> None:
    """Go through the life of the packages."""
    packages = sorted(folder.glob("*.deb"))
    before = set(everything())
    install(packages)
    assert not [path for path in SHIPPED if not Path(path).exists()]
    step("installed, with manual pages, completions, alerts and dashboard")
    run("systemctl", "start", "scached.socket")
    assert run("systemctl", "is-enabled", "scached.socket") == "enabled\n"
    park_and_take()
    version = run("scached", "--version", "-v").splitlines()
    assert version[1] == "engine: compiled", version
    assert run("systemctl", "show", "--property=User", "scached.service") == "User=scached\n"
    assert f"pid {main_process()}" in " ".join(run("scachectl", "version").split()), "the admin socket"
    run("systemctl", "reload", "scached.service")
    step("a client parked and took a connection; the engine is compiled; the operator got in")

    SETTINGS.write_text(SETTINGS.read_text().replace('"30s"', f'"{TTL_S}s"') + r"farewell = ['closed=QUIT\r\n']")
    run("systemctl", "reload", "scached.service")
    STANDS_STILL.parent.mkdir(parents=True)
    STANDS_STILL.write_text(f"[Service]\nExecStartPre=/usr/bin/test -e {MAY_START}\n")
    run("systemctl", "daemon-reload")
    figures = run("/usr/bin/python3", "-I", "-c", SURVIVES).strip()
    STANDS_STILL.unlink()
    run("systemctl", "daemon-reload")
    step(f"{PARKED} parked, one twice, survived a restart and a failed start; one peer hung up meanwhile; {figures}")
    run("/usr/bin/python3", "-I", "-c", IS_CLOSED, "QUIT\r\n", "systemctl", "stop", "scached.service")
    run("/usr/bin/python3", "-I", "-c", IS_CLOSED, "", "systemctl", "kill", "--signal=KILL", "scached.service")
    step("what was parked is closed by a stop, with its farewell, and by a kill")

    for _ in range(RESTARTS):
        run("systemctl", "restart", "scached.service")
    park_and_take()
    process = main_process()
    os.kill(int(process), signal.SIGKILL)
    park_and_take()
    assert main_process() not in (process, "0")
    run("systemctl", "stop", "scached.service")
    park_and_take()
    step(f"the service was restarted {RESTARTS} times, killed, and stopped: the next client was served each time")

    add_server(folder)
    step("a second server was added, as the page says, and removed")

    take_over()
    step(f"{TAKEOVERS} reloads in a row with the drop-in were takeovers; a process that is not of the unit was refused")

    settings = SETTINGS.read_text()
    SETTINGS.write_text(settings.replace("ttl_limit", "ttl_limt"))
    assert fails("systemctl", "reload", "scached.service")
    park_and_take()  # It goes on with the settings that it has.
    assert fails("systemctl", "restart", "scached.service")
    for _ in range(TRIES):
        run("/usr/bin/python3", "-c", CONNECT)
        assert fails("systemctl", "start", "scached.service")  # It waits for the end of a try.
    assert run("systemctl", "is-active", "scached.socket") == "active\n"
    explained = run("journalctl", "--unit=scached.service", "--priority=warning", "--output=cat")
    assert "unknown key 'ttl_limt': did you mean 'ttl_limit'?" in explained, explained
    SETTINGS.write_text(settings)
    park_and_take()  # The next client is enough.
    run("systemctl", "start", "scached.service")
    step("a typo in the configuration was explained, left the socket there, and was mended")

    inode = Path(SOCKET).stat().st_ino
    process = main_process()
    reinstall = ["apt-get", "install", "--yes", "--reinstall", *map(str, packages)]
    run("/usr/bin/python3", "-I", "-c", IS_KEPT, *reinstall)
    assert Path(SOCKET).stat().st_ino == inode
    assert main_process() not in (process, "0"), "the old server still runs"
    park_and_take()
    step("a new installation over the old one restarted the server and left the socket and what was parked there")

    ended = run("scache-conformance", "--socket", SOCKET, "--clause", "ENDP-3")
    assert "FAIL" not in ended, ended
    step("the suite ran")

    run("apt-get", "remove", "--yes", "scached", "scache-conformance")
    assert not Path(SOCKET).exists()
    install(packages)
    park_and_take()
    step("removed and installed again")

    for _ in range(2):
        run("dpkg", "--purge", "scached", "scache-conformance")
    left = set(everything()) - before
    assert left <= {f"{path}-" for path in USERS}, sorted(left)  # The copies that whoever adds a user makes.
    assert not Path("/run/scached").exists()
    assert ":scached:" not in run("systemctl", "list-unit-files")
    assert run("getent", "passwd", "scached").startswith("scached:")
    step("purged, twice: nothing is left but the user scached")


def add_server(folder: Path) -> None:
    """Add a server by the commands of the page, see that it shares nothing with the first one, and remove it."""
    before = set(Path("/etc/systemd/system").iterdir())
    run("sh", str(folder / "second-server.sh"))
    second = Path(SOCKET).with_name("web.sock")
    run("/usr/bin/python3", "-I", "-c", PARK_AND_TAKE.replace(SOCKET, str(second)))
    processes = {main_process(), main_process("scached@web.service")}
    assert len(processes) == 2
    assert "0" not in processes
    run("/usr/bin/python3", "-I", "-c", PARK_AND_TAKE)
    run("systemctl", "reload", "scached@web.service")
    told = run("scachectl", "--admin", str(second.with_name("web-admin.sock")), "version")
    assert f"pid {main_process('scached@web.service')}" in " ".join(told.split())
    run("systemctl", "disable", "--now", "scached@web.socket")
    run("systemctl", "stop", "scached@web.service", "scached-admin@web.socket")
    for path in (*set(Path("/etc/systemd/system").iterdir()) - before, Path("/etc/scached-web.toml")):
        path.unlink()
    run("systemctl", "daemon-reload")


def take_over() -> None:
    """Have a new process take over by a reload, and see that everything moves; then undo what a reload is."""
    DROP_IN.parent.mkdir(parents=True)
    DROP_IN.write_bytes(Path("/usr/share/doc/scached/takeover.conf").read_bytes())
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "scached.service")
    restarts = run("systemctl", "show", "--property=NRestarts", "scached.service")
    for _ in range(TAKEOVERS):
        process = main_process()
        run("/usr/bin/python3", "-I", "-c", RELOAD)
        assert main_process() not in (process, "0")
        await_end(int(process))
        assert f"pid {main_process()}" in " ".join(run("scachectl", "version").split())
    assert run("systemctl", "is-active", "scached.service") == "active\n"
    assert run("systemctl", "show", "--property=NRestarts", "scached.service") == restarts
    run("/usr/bin/python3", "-I", "-c", IS_KEPT, "systemctl", "restart", "scached.service")  # By one that took over.
    process = main_process()
    refused = subprocess.run(
        ["scached", "--takeover", "/run/scached/admin.sock"], capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "systemctl reload scached" in refused.stderr) == (1, True), refused
    settings = SETTINGS.read_text()
    SETTINGS.write_text(settings + "[limits]\nsessions_max = -1\n")
    assert fails("systemctl", "reload", "scached.service")
    SETTINGS.write_text(settings)
    assert main_process() == process
    os.kill(int(process), signal.SIGKILL)  # It is noticed, though systemd did not start this process itself.
    park_and_take()
    assert main_process() not in (process, "0")
    warnings = run("journalctl", "--unit=scached.service", "--output=cat")
    assert "reception only permitted for" not in warnings, warnings
    DROP_IN.unlink()
    DROP_IN.parent.rmdir()
    run("systemctl", "daemon-reload")


def await_end(process: int) -> None:
    """Wait until a process has ended, which has given everything away."""
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(process)
        assert select.select([pidfd], [], [], 30)[0], f"process {process} does not end"
        os.close(pidfd)


def install(packages: list[Path]) -> None:
    """Install as an operator does, without a network."""
    run("apt-get", "install", "--yes", "--no-install-recommends", *map(str, packages))


def park_and_take() -> None:
    """Park a connection and take it up with the installed library, as two clients."""
    run("/usr/bin/python3", "-I", "-c", PARK_AND_TAKE)


def main_process(unit: str = "scached.service") -> str:
    """Return the number of the server's process."""
    return run("systemctl", "show", "--property=MainPID", "--value", unit).strip()


def everything() -> Iterator[str]:
    """Yield every file and folder that packages bring."""
    found = run("find", "/", "-xdev", *(part for path in OTHERS for part in ("-path", path, "-prune", "-o")), "-print")
    yield from (line for line in found.splitlines() if "__pycache__" not in line)


def fails(*command: str) -> bool:
    """Run a command; say whether it fails."""
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


def run(*command: str) -> str:
    """Run a command that has to succeed; return what it printed."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command} failed: {ended.stdout}{ended.stderr}"
    return ended.stdout


def step(what: str) -> None:
    """Say what worked."""
    print(f"debian: {what}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

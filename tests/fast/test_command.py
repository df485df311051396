"""The command line, as a process: what it prints, what it leaves behind, how it ends."""

import os
import re
import signal
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from tests.support.client import Client
from tests.support.messages import (
    DONE,
    MALFORMED,
    MISSED,
    MISSED_DEST,
    find_dest,
    find_endp,
    found,
    save_dest,
)
from tests.support.processes import run, running

from scache_fast import __version__
from scache_fast.admin.client import AdminClient
from scache_fast.engine import server
from scache_fast.engine.calls import ACCELERATED
from scache_fast.settings.sources import read
from scache_fast.settings.table import Settings
from scache_fast.settings.values import parse_time_s
from scache_spec.vocabulary import Limits


def parse(arguments: list[str]) -> Settings:
    """Read a command line in an empty environment."""
    return read(arguments, {})


NO_LATE_IMPORT = """
import sys
from scache_fast import __main__
from scache_fast.process import standalone
from scache_fast.process import listening
class Refuse:
    def find_spec(self, name, path=None, target=None):
        raise AssertionError(f"late import of {name}")
listen = listening.listen
def from_here_on(*arguments):
    sys.meta_path.insert(0, Refuse())
    return listen(*arguments)
standalone.listen = from_here_on
sys.exit(__main__.main())
"""


IMPORTED = """
import sys
before = set(sys.modules)
from scache_fast import __main__
status = __main__.main()
print("imported:", *sorted(set(sys.modules) - before), file=sys.stderr)
sys.exit(status)
"""
NOT_AT_EVERY_START = {
    "argparse", "dataclasses", "inspect", "json", "tomllib", "zlib",
    "scache_fast.admin", "scache_fast.takeover", "scache_fast.process.administration",
    "scache_fast.process.descriptor_store", "scache_fast.process.succession", "scache_fast.settings.command_line",
}  # fmt: skip
"""What a plain start would pay for in milliseconds and memory without using it."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_statistics_and_without_a_socket(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "s"
    with running("--listen", path) as server, Client(path) as client:
        assert client.say(find_endp(b"zz")) == MISSED
        first, *printed = server.end(number)
    assert [line.split(": ", 1)[1] for line in printed] == ["statistics: address lookup hits=0 miss=1 success=0%"]
    assert first.startswith(f"scached[{server.pid}]: statistics: start interval ")
    assert list(tmp_path.iterdir()) == []


def test_usr1_prints_statistics_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running("--listen", path) as server, Client(path) as client:
        assert client.say(find_dest(b"zz")) == MISSED_DEST
        server.process.send_signal(signal.SIGUSR1)
        server.line("start interval")
        server.line("domain lookup hits=0 miss=1 success=0%")
        assert client.say(find_endp(b"zz")) == MISSED
        assert "domain" not in " ".join(server.end())


FAILING = """
import sys
from scache_fast.process.socket_watch import SocketWatch
def fail(watch, server):
    raise ValueError("nobody foresaw this")
SocketWatch.after_turn = fail
from scache_fast.__main__ import main
sys.exit(main())
"""


def test_LIFE_5_what_fails_after_a_turn_does_not_end_the_server(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", command=[sys.executable, "-c", FAILING]) as server:
        with Client(tmp_path / "s") as client:
            assert client.say(find_endp(b"zz")) == MISSED
        server.line("after each turn .*ValueError: nobody foresaw this at ")
        server.end()


def test_two_sockets_share_one_cache_and_nothing_is_imported_late(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    command = [sys.executable, "-c", NO_LATE_IMPORT]
    with (
        running("--listen", one, "--listen", two, "--ttl-limit", "1m", "-v", command=command) as server,
        Client(one) as saver,
        Client(two) as finder,
        saver.park(b"e", b"ep"),
    ):
        assert saver.say(save_dest(b"d", b"dp", b"e")) == DONE
        assert saver.say(b"request\0nonsense\0\0") == MALFORMED
        assert finder.say(find_dest(b"d")) == found(b"dp", b"ep")
        os.close(finder.take())
        server.process.send_signal(signal.SIGUSR1)
        printed = "\n".join(server.end())
    assert "'find_dest' 'd': found" in printed
    assert ": unknown request 'nonsense'" in printed


def test_nothing_is_imported_late_with_an_admin_socket(tmp_path: Path) -> None:
    command = [sys.executable, "-c", NO_LATE_IMPORT]
    with running("--listen", tmp_path / "s", "--admin", tmp_path / "a", command=command) as server:
        with AdminClient(str(tmp_path / "a")) as operator:
            assert operator.ask("stats")["pid"] == server.pid
        assert "late import" not in "\n".join(server.end())


def test_plain_start_imports_what_it_needs_and_no_more(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORTED]
    with running("--listen", tmp_path / "s", "--ttl-limit=1m", "-v", command=command) as server:
        *_, last = server.end()
    imported = set(last.removeprefix("imported:").split())
    assert "scache_fast.engine.server" in imported
    assert imported & NOT_AT_EVERY_START == set()


def test_idle_server_ends_by_itself(tmp_path: Path) -> None:
    with running("--listen", tmp_path / "s", "--max-idle", "1") as server:
        server.wait()
    assert list(tmp_path.iterdir()) == []


def test_runs_isolated(tmp_path: Path) -> None:
    """With -I neither the working directory nor the environment says where modules are."""
    folders = [path for path in sys.path if path]
    program = f"import sys; sys.path += {folders!r}; from scache_fast.__main__ import main; sys.exit(main())"
    with running("--listen", tmp_path / "s", command=[sys.executable, "-I", "-c", program]) as server:
        server.end()


def test_soft_descriptor_limit_is_raised(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from scache_fast.__main__ import main;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]));"
        "sys.exit(main())"
    )
    with running("--listen", tmp_path / "s", command=[sys.executable, "-c", program]) as server:
        limits = Path(f"/proc/{server.pid}/limits").read_text()
        row = re.search(r"^Max open files +(\S+) +(\S+)", limits, re.MULTILINE)
        assert row is not None
        assert row[1] == row[2] != "64"


@pytest.mark.parametrize(("mode", "bits"), [("0600", 0o600), ("660", 0o660), ("0666", 0o666)])
def test_socket_has_the_mode_that_was_asked_for(tmp_path: Path, mode: str, bits: int) -> None:
    with running("--listen", tmp_path / "s", "--mode", mode):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == bits


def test_killed_servers_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running("--listen", path) as server:
        server.process.kill()
    assert path.is_socket()
    with running("--listen", path), Client(path):
        pass


def test_live_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running("--listen", path) as first:
        inode = path.stat().st_ino
        second = run("--listen", tmp_path / "other", "--listen", path)
        assert second.returncode == 1
        assert "another process listens there" in second.stderr
        assert second.stderr.count("\n") == 1
        assert not (tmp_path / "other").exists()
        assert path.stat().st_ino == inode
        with Client(path):
            pass
        first.end()


@pytest.mark.parametrize("operand", [["--nonsense"], ["operand"], ["--ttl-limit", "0"], ["--mode", "rw"], []])
def test_wrong_usage_is_status_2(tmp_path: Path, operand: list[str]) -> None:
    listen = ["--listen", str(tmp_path / "s")] if operand else []
    ended = run(*listen, *operand)
    assert ended.returncode == 2
    assert "scached: error: " in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_limit() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    for name in Limits._fields:
        assert f"--{name.removesuffix('_s').replace('_', '-')} " in ended.stdout


def test_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__
    assert run("--version").stdout == f"scached {__version__}\n"


def test_version_says_which_form_of_the_engine_runs() -> None:
    form = "plain Python" if server.__file__.endswith(".py") else "compiled"
    for arguments in (["--version", "-v"], ["-v", "--version"]):
        version, engine, accelerator, interpreter = run(*arguments).stdout.splitlines()
        assert (version, engine) == (f"scached {__version__}", f"engine: {form}")
        assert accelerator == f"accelerator: {'not installed' if ACCELERATED is None else 'installed'}"
        assert interpreter.startswith("interpreter: ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2),
        ("10m", 600),
        ("1h", 3600),
        ("1d", 86400),
        ("1w", 604800),
        ("7", 7),
        ("1", 1),
        ("2147483647", 2147483647),
    ],
)
def test_times_are_spelled_as_in_postfix(text: str, seconds: int) -> None:
    assert parse_time_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-1", "1.5s", "s", "1 s", "1S", "1y", "2147483648", "9999999999w", "\u0661"]
)
def test_other_times_are_refused(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--listen", "s", f"--ttl-limit={text}"])
    assert "write a whole number of at least 1 and s, m, h, d or w" in capfd.readouterr().err


def test_options_reach_their_limits() -> None:
    normal = parse(["--listen", "s"])
    assert normal.limits == Limits(ipc_timeout_s=60, clients_per_user_max=900)
    assert (normal.listen, normal.mode, normal.verbose) == (("s",), 0o600, False)
    times = ["--ttl-limit=1m", "--max-idle=2m", "--status-update-time=3m", "--ipc-timeout=4m"]
    sizes = ["--attribute-list-bytes-max=5", "--output-bytes-max=6"]
    counts = ["--sessions-max=7", "--sessions-per-endpoint-max=8", "--bindings-max=9", "--clients-max=10"]
    counts += ["--attributes-max=11", "--bindings-per-destination-max=12", "--cached-bytes-max=13"]
    counts += ["--clients-per-user-max=14"]
    given = parse(["--listen", "a", "--listen", "b", "--mode", "600", "-v", *times, *sizes, *counts])
    assert given.limits == Limits(
        ttl_limit_s=60,
        max_idle_s=120,
        status_update_time_s=180,
        ipc_timeout_s=240,
        attribute_list_bytes_max=5,
        output_bytes_max=6,
        sessions_max=7,
        sessions_per_endpoint_max=8,
        bindings_max=9,
        clients_max=10,
        attributes_max=11,
        bindings_per_destination_max=12,
        cached_bytes_max=13,
        clients_per_user_max=14,
    )
    assert (given.listen, given.mode, given.verbose) == (("a", "b"), 0o600, True)
    assert parse(["--listen", "s", "--max-idle", "never"]).limits.max_idle_s is None


@pytest.mark.parametrize(
    ("clients", "per_user", "expected"),
    [("5", "90%", 5), ("10", "90%", 9), ("1", "1%", 1), ("7", "100%", 7), ("7", "3", 3), ("7", "off", None)],
)
def test_clients_of_one_user_are_a_part_of_all(clients: str, per_user: str, expected: int | None) -> None:
    given = parse(["--listen", "s", "--clients-max", clients, "--clients-per-user-max", per_user])
    assert given.limits.clients_per_user_max == expected


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.0", "9" * 19])
def test_other_counts_are_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        parse(["--listen", "s", f"--clients-max={text}"])

"""What master(8), or somebody who does as it does, gives a child that cannot start, and what the child says then.

Where Postfix's own scache(8) says the same, it is asked too: the table is about it as much as about scached. Its
complaints about options are lost before its log is open; there only its exit status is compared.
"""

import os
import pty
import re
import select
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.postfix.launcher import scached

from scache_conformance.servers.postfix import MasterChild
from scache_conformance.servers.target import ServerDied
from scache_fast.process import postfix_parameters
from scache_fast.process.errors import StartError
from scache_fast.process.postfix_parameters import Question

NEEDS_POSTFIX = pytest.mark.needs("postfix")

AS_MASTER: Final = ("-l", "-t", "unix")

EXACTLY: Final = "exactly"
EXIT_STATUS: Final = "exit status"
NOT_AT_ALL: Final = "not at all"


@dataclass(frozen=True, slots=True)
class Fatal:
    """A start that fails."""

    id: str
    arguments: Sequence[str]
    message: str
    """A regular expression for the one line that says why, behind `fatal: `."""

    generation: str = "1"
    postfix: str = EXACTLY
    """How far Postfix's own server agrees."""

    prelude: str = ""
    """What happens to the process before."""


NOT_A_TIME: Final = r"'{}' is not a time: write a whole number of at least 1 and s, m, h, d or w, like 2s or 10m"

FATAL: Final = (
    Fatal("no process limit", ["-t", "unix"], "service scached requires a process limit of 1", postfix=EXIT_STATUS),
    Fatal("no process limit, other name", ["-t", "unix", "-n", "foo"], "service foo requires a process limit of 1"),
    Fatal("process limit 0", ["-z", "-t", "unix", "-n", "foo"], "service foo requires a process limit of 1"),
    Fatal("no transport", ["-l"], "no transport type specified"),
    Fatal("unknown transport", ["-l", "-t", "bogus"], "unsupported transport type: bogus"),
    Fatal("transport inet", ["-l", "-t", "inet"], "unsupported transport type: inet", postfix=NOT_AT_ALL),
    Fatal("generation no digits", AS_MASTER, "bad generation: x1", generation="x1"),
    Fatal("generation empty", AS_MASTER, "bad generation: ", generation=""),
    Fatal("generation not octal", AS_MASTER, "bad generation: 18", generation="18", postfix=NOT_AT_ALL),
    Fatal(
        "override without =", [*AS_MASTER, "-o", "foo"],
        "invalid \"-o foo\" option value: missing '=' after attribute name", postfix=EXIT_STATUS,
    ),
    Fatal(
        "override without name", [*AS_MASTER, "-o", " = x"],
        'invalid "-o  = x" option value: missing attribute name', postfix=EXIT_STATUS,
    ),
    Fatal(
        "override empty", [*AS_MASTER, "-o", ""],
        "invalid \"-o \" option value: missing '=' after attribute name", postfix=EXIT_STATUS,
    ),
    Fatal("operand", [*AS_MASTER, "operand"], "unexpected command-line argument: operand", postfix=NOT_AT_ALL),
    Fatal(
        "operand with newlines", [*AS_MASTER, "one\nNov 22 11:03:25 forged"],
        r"unexpected command-line argument: one\\nNov 22 11:03:25 forged", postfix=NOT_AT_ALL,
    ),
    Fatal("unknown option", [*AS_MASTER, "-Q"], "invalid option: option -Q not recognized", postfix=EXIT_STATUS),
    Fatal(
        "option without value", [*AS_MASTER, "-n"], "invalid option: option -n requires argument", postfix=EXIT_STATUS,
    ),
    Fatal("no listeners", [*AS_MASTER, "-s", "0"], "invalid socket_count: 0", postfix=EXIT_STATUS),
    Fatal("listeners no number", [*AS_MASTER, "-s", "x"], "invalid socket_count: x", postfix=EXIT_STATUS),
    Fatal(
        "listener missing", [*AS_MASTER, "-s", "2"],
        r"descriptor 7 \(a listening socket of master's\) was passed and is not .*",
        postfix=NOT_AT_ALL,
    ),
    Fatal(
        "status channel missing", AS_MASTER,
        r"descriptor 5 \(master's status channel\) was passed and is not .*",
        prelude="os.close(5)",
        postfix=NOT_AT_ALL,
    ),
    Fatal(
        "ttl limit no time", [*AS_MASTER, "-o", "connection_cache_ttl_limit=abc"],
        f"parameter connection_cache_ttl_limit: {NOT_A_TIME.format('abc')}", postfix=EXIT_STATUS,
    ),
    Fatal(
        "ttl limit 0", [*AS_MASTER, "-o", "connection_cache_ttl_limit=0"],
        f"parameter connection_cache_ttl_limit: {NOT_A_TIME.format('0')}", postfix=EXIT_STATUS,
    ),
    Fatal(
        "update time 0", [*AS_MASTER, "-o", "connection_cache_status_update_time=0"],
        f"parameter connection_cache_status_update_time: {NOT_A_TIME.format('0')}", postfix=EXIT_STATUS,
    ),
    Fatal(
        "max_idle 0", [*AS_MASTER, "-o", "max_idle=0"], f"parameter max_idle: {NOT_A_TIME.format('0')}",
        postfix=EXIT_STATUS,
    ),
    Fatal(
        "max_idle no time", [*AS_MASTER, "-i", "x"], f"parameter max_idle: {NOT_A_TIME.format('x')}",
        postfix=EXIT_STATUS,
    ),
    Fatal(
        "daemon_timeout no time", [*AS_MASTER, "-o", "daemon_timeout=2x"],
        f"parameter daemon_timeout: {NOT_A_TIME.format('2x')}", postfix=EXIT_STATUS,
    ),
    Fatal(
        "facility", [*AS_MASTER, "-o", "syslog_facility=foo"],
        "parameter syslog_facility: 'foo' is none of kern, .*", postfix=EXIT_STATUS,
    ),
    Fatal(
        "owner unknown", [*AS_MASTER, "-u", "-o", "mail_owner=nosuch"],
        "parameter mail_owner: there is no user 'nosuch'", postfix=EXIT_STATUS,
    ),
    Fatal(
        "owner root", [*AS_MASTER, "-u", "-o", "mail_owner=root"],
        "parameter mail_owner: user root has all privileges; name one without", postfix=EXIT_STATUS,
    ),
    Fatal(
        "queue missing", [*AS_MASTER, "-o", "queue_directory=/nosuch"],
        "cannot find queue_directory /nosuch: No such file or directory", postfix=EXIT_STATUS,
    ),
    Fatal(
        "own parameter unknown", [*AS_MASTER, "-o", "scached_livenes=off"],
        "unknown parameter -o scached_livenes: scached --help lists what there is", postfix=NOT_AT_ALL,
    ),
    Fatal(
        "own parameter wrong", [*AS_MASTER, "-o", "scached_liveness=maybe"],
        "-o: .*liveness: 'maybe' is none of off, hup, rdhup", postfix=NOT_AT_ALL,
    ),
    *(
        Fatal(
            f"own parameter {name}", [*AS_MASTER, "-o", f"scached_{name}={value}"],
            rf"-o scached_{name} cannot be set under master\(8\): .*", postfix=NOT_AT_ALL,
        )
        for name, value in {
            "listen": "/x", "mode": "0666", "owner": "root", "user": "nobody", "group": "daemon", "chroot": "/",
            "log": "stderr", "syslog_facility": "mail", "ready_fd": "3",
        }.items()
    ),
    Fatal(
        "file missing", [*AS_MASTER, "-f", "/nosuch"], "cannot read '/nosuch': No such file or directory",
        postfix=NOT_AT_ALL,
    ),
    Fatal(
        "other folder than the queue", [*AS_MASTER, "-o", "queue_directory=/"],
        r"master\(8\) started this process in \S+/queue, and queue_directory is /: see command_directory .*",
        postfix=NOT_AT_ALL,
    ),
    Fatal(
        "configuration missing", AS_MASTER,
        "cannot read the configuration in /nosuch: .*/nosuch/main.cf.*No such file or directory",
        prelude="os.environ['MAIL_CONFIG'] = '/nosuch'",
    ),
)  # fmt: skip

by_id = pytest.mark.parametrize("case", FATAL, ids=lambda case: case.id)


def begin(stack: ExitStack, program: Path | None, case: Fatal) -> MasterChild:
    """Start a child that must not come up."""
    child = MasterChild(program, arguments=case.arguments, generation=case.generation)
    stack.callback(child.stop)
    child.prepare()
    child.start()
    return child


def start(program: Path, case: Fatal) -> tuple[int, list[str]]:
    """Start a child that must not come up; return its exit status and its log."""
    with ExitStack() as stack:
        child = begin(stack, program, case)
        with pytest.raises(ServerDied):
            child.await_greeting()
        return child.wait(), child.log().splitlines()


@NEEDS_POSTFIX
@by_id
def test_start_fails_with_one_line_that_says_why(case: Fatal, tmp_path: Path) -> None:
    status, log = start(scached(tmp_path, case.prelude), case)
    assert status == 1
    assert len(log) == 1, log
    head = r"\w+ [ \d]\d [\d:]{8} private postfix/scached\[\d+\]: fatal: "
    assert re.fullmatch(head + case.message, log[0]), log[0]


@NEEDS_POSTFIX
def test_real_scache_fails_in_the_same_way() -> None:
    cases = [case for case in FATAL if case.postfix != NOT_AT_ALL and not case.prelude]
    assert len(cases) > 20
    with ExitStack() as stack:
        # All at once: each of them stays for a second when it fails.
        for case, child in [(case, begin(stack, None, case)) for case in cases]:
            assert child.wait() == 1, case
            if case.postfix == EXACTLY:
                assert re.fullmatch(rf"[^\n]* fatal: {case.message}\n", child.log()), (case, child.log())


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """Open a terminal; what is printed there can be read from the descriptor, and it has a path."""
    outer, inner = pty.openpty()
    yield outer, os.ttyname(inner)
    os.close(outer)
    os.close(inner)


@NEEDS_POSTFIX
def test_start_by_hand_is_refused_in_the_log_and_on_the_terminal(tmp_path: Path, terminal: tuple[int, str]) -> None:
    outer, path = terminal
    prelude = f"tty = os.open({path!r}, os.O_RDWR | os.O_NOCTTY); os.dup2(tty, 0); os.dup2(tty, 2)"
    status, log = start(scached(tmp_path, prelude), Fatal("", AS_MASTER, ""))
    assert status == 1
    assert [line.partition("]: ")[2] for line in log] == ["fatal: do not run this command by hand"]
    assert select.select([outer], [], [], 0)[0], "nothing is said on the terminal"
    assert re.fullmatch(rb"scached\[\d+\]: fatal: do not run this command by hand\r\n", os.read(outer, 1000))


@NEEDS_POSTFIX
def test_start_by_hand_is_recognized_without_a_generation(tmp_path: Path, terminal: tuple[int, str]) -> None:
    _, path = terminal
    prelude = f"del os.environ['GENERATION']; os.dup2(os.open({path!r}, os.O_RDWR | os.O_NOCTTY), 0)"
    status, log = start(scached(tmp_path, prelude), Fatal("", AS_MASTER, ""))
    assert (status, len(log)) == (1, 1)


def silent_postconf(folder: Path, script: str) -> Path:
    program = folder / "postconf"
    program.write_text(f"#!/bin/sh\n{script}\n" if script else "")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("exec sleep 60", r"postconf -c /nosuch gave no answer in 0.1 s"),
        ("", r"cannot run \S+/postconf: Exec format error"),
        ("exit 0", r"cannot read the configuration in /nosuch: no answer"),
        ("echo trouble >&2; exit 1", r"cannot read the configuration in /nosuch: trouble"),
    ],
)
def test_postconf_that_gives_no_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, complaint: str
) -> None:
    silent_postconf(tmp_path, script)
    monkeypatch.setattr(postfix_parameters, "_POSTCONF_TIMEOUT_S", 0.1)
    with pytest.raises(StartError, match=complaint):
        Question("/nosuch", {"command_directory": str(tmp_path)}).answer()


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("command_directory = {}", "{}"),
        ("command_directory={}\n", "{}"),
        ("command_directory = /nosuch\n\n# command_directory = /nosuch\ncommand_directory =\n  {}\n", "{}"),
        ("command_directory = {}\nx = y", "{}"),
        ("x = y\n command_directory = /nosuch\n", None),
        ("# command_directory = /nosuch\n", None),
        ("command_directory = $config_directory\n", None),
        ("command_directory = relative\n", None),
        (None, None),
    ],
)
def test_postconf_is_where_main_cf_says(
    text: str | None, folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "usual").mkdir()
    for name in ("own", "usual"):
        silent_postconf(tmp_path / name, "exit 1")
    if text is not None:
        (tmp_path / "main.cf").write_text(text.replace("{}", str(tmp_path / "own")))
    monkeypatch.setattr(postfix_parameters, "_FOLDERS", (str(tmp_path / "usual"),))
    expected = tmp_path / ("usual" if folder is None else "own") / "postconf"
    assert postfix_parameters._postconf(str(tmp_path), {}) == str(expected)
    overrides = {"command_directory": str(tmp_path / "own")}
    assert postfix_parameters._postconf(str(tmp_path), overrides) == str(tmp_path / "own/postconf")


def test_missing_postconf_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postfix_parameters, "_FOLDERS", (str(tmp_path),))
    with pytest.raises(StartError, match=rf"there is no postconf command at {tmp_path}/postconf: set comm"):
        Question("/nosuch", {})

"""The command: exit statuses, lists, and what happens when a server dies."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.support.messages import GREETING
from tests.support.scripted import saying
from tests.wrong.registry import UNDER_CLOCK, rules

from scache_conformance.__main__ import main
from scache_conformance.generated import histories, lockstep
from scache_conformance.generated.command import Progress
from scache_conformance.servers.postfix import scache_program, version_of
from scache_conformance.servers.target import PLACEHOLDERS, Declared
from scache_conformance.servers.target_command import CommandServer

REFERENCE = f"{sys.executable} -m scache_reference --listen {{socket}} --ttl-limit {{ttl_limit_s}}"

DIES = """
import os, socket, sys, threading
def serve(client):
    client.sendall(b"protocol\\0connection_cache_protocol\\0\\0")
    if client.recv(100):
        os._exit(3)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]]).start()
"""

MUTE = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
client, _ = listener.accept()
lifeline = open(sys.argv[2], "w", 1)
print("a client", file=lifeline)
client.recv(100)
while True:
    listener.accept()
"""

FLOOD = """
    def flood(client=client):
        while True:
            client.sendall(b"x" * 65536)
    threading.Thread(target=flood, daemon=True).start()
"""


def status_of(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_good_server_is_0_and_reports_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / name for name in ("json", "junit", "tap", "html", "markdown")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert status_of("--exec", REFERENCE, "--run", "greeting/*", "--name", "mine", *options) == 0
    assert "mine: 5 PASS of 5 cases" in capsys.readouterr().out
    assert all(path.stat().st_size > 100 for path in files.values())
    assert status_of("report", str(files["json"]), str(files["json"]), "--html", str(tmp_path / "two")) == 0


@pytest.mark.parametrize(
    "plug", [["--exec", REFERENCE], pytest.param(["--postfix"], marks=pytest.mark.needs("postfix"))]
)
def test_long_tmpdir_is_not_blamed_on_the_server(
    plug: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = tmp_path / ("d" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert status_of(*plug, "--run", "greeting/once") == 0
    assert "1 PASS of 1 cases" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["clause", "FD-1", "WIRE-1"], ["client", "--help"], ["watch", "--help"]])
def test_terminal_that_knows_ascii_only_gets_every_text(words: list[str]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "scache_conformance", *words]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.needs("postfix")
def test_scache_of_another_postfix_is_told_from_that_of_the_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The installed program with another stamp: what differs is nothing but the version."""
    installed = scache_program()
    version = version_of(installed)
    assert version is not None
    another = tmp_path / "scache"
    another.write_bytes(installed.read_bytes().replace(version.encode(), b"9" * len(version)))
    another.chmod(0o755)
    assert status_of("--postfix", str(another), "--expect-fail", "postfix-scache", "--run", "greeting/*") == 0
    assert f"; this is Postfix {'9' * len(version)}.\n  It fails no case that is not listed" in capsys.readouterr().out
    assert version_of(Path(sys.executable)) is None


def test_wrong_server_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with saying(tmp_path, (GREETING + b"status\x001\0\0", [])) as path:
        assert status_of("--socket", str(path), "--run", "greeting/once", "--deadline", "0.5") == 1
    assert "CONN-1  When a client connects, the server sends the greeting" in capsys.readouterr().out


def test_mute_server_fails_the_greeting_and_keeps_nobody_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with saying(tmp_path) as path:
        assert status_of("--socket", str(path), "--deadline", "0.05") == 1
    said = capsys.readouterr().out
    assert "FAIL  MUST   greeting/speaks-first" in said
    assert "needs a server that greets" in said


def test_expected_failure_is_0_and_its_opposite_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = tmp_path / "expected.toml"
    expected.write_text('[[deviation]]\nclauses = ["CONN-1"]\ncases = ["greeting/once"]\nreason = "It never stops."\n')
    with saying(tmp_path, (GREETING + b"status\x001\0\0", [])) as path:
        options = ["--run", "greeting/once", "--deadline", "0.5", "--expect-fail", str(expected)]
        assert status_of("--socket", str(path), *options) == 0
    assert status_of("--exec", REFERENCE, *options) == 1
    assert "It never stops" in capsys.readouterr().out


def test_nothing_tried_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--exec", REFERENCE, "--run", "nothing/*") == 2
    assert "no case matches --run and --clause" in capsys.readouterr().err


def test_everything_skipped_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with saying(tmp_path, (GREETING, [])) as path:
        assert status_of("--socket", str(path), "--run", "life/*") == 2
    assert "needs a server that the suite can start" in capsys.readouterr().out


def test_nobody_there_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--socket", str(tmp_path / "nobody")) == 2
    assert "does not serve" in capsys.readouterr().err


def test_server_that_cannot_be_started_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--exec", "/nonexistent/cache {socket}") == 2
    assert "cannot start" in capsys.readouterr().err


def test_server_that_ends_at_once_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--exec", f"{sys.executable} -c 'print(\"no socket\")' {{socket}}") == 2
    assert "no socket" in capsys.readouterr().err


def test_server_that_dies_is_2_and_is_started_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "dies.py"
    program.write_text(DIES)
    json_path = tmp_path / "run.json"
    words = ["--exec", f"{sys.executable} {program} {{socket}}", "--run", "greeting/[!s]*", "--deadline", "5"]
    assert status_of(*words, "--run", "greeting/speaks-first", "--json", str(json_path)) == 2
    said = capsys.readouterr().out
    assert "the server died" in said
    assert "started again, it dies of this case alone" in said
    verdicts = {each["slug"]: each["verdict"] for each in json.loads(json_path.read_text())["results"]}
    assert verdicts == {
        "greeting/speaks-first": "PASS",
        "greeting/once": "ERROR",
        "greeting/every-client": "ERROR",
        "greeting/request-before-it": "ERROR",
    }


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--socket", "a", "--postfix"],
        ["--exec", "no-place-for-the-socket"],
        ["--exec", "cache {socket} --max {session_max}"],
        ["--socket", "a", "--limit", "nonsense=3"],
        ["--socket", "a", "--limit", "clients_max=many"],
        ["--socket", "a", "--ttl-limit", "0"],
        ["--socket", "a", "--deadline", "-3"],
        ["--socket", "a", "--deadline", "nan"],
        ["--socket", "a" * 200],
        ["--socket", "/dev/null/x"],
        ["--exec", "cache '{socket}"],
        ["--exec", REFERENCE, "--clock-file", "/dev/null/clock"],
        ["--exec", REFERENCE, "--clock-file", __file__],
        ["--exec", REFERENCE, "--model", "10", "--json", "/dev/null"],
        ["--postfix", "/nonexistent/cache"],
        ["report", "/nonexistent/run.json", "--html", "/nonexistent/x"],
        ["traces", "/nonexistent/traces"],
        ["--socket", "a", "--clause", "CONN-999"],
        ["--socket", "a", "--expect-fail", "/nonexistent/file"],
        ["report", "/nonexistent/run.json", "--html", "x"],
        ["report", "/nonexistent/run.json"],
        ["replay", "/nonexistent/traces", "--exec", REFERENCE],
    ],
)
def test_wrong_command_line_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(*words) == 2
    assert capsys.readouterr().err


def test_slip_in_a_placeholder_is_told_from_the_commands_own_braces(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--exec", "/nonexistent {socket} {session_max}", "--run", "greeting/once") == 2
    assert "did you mean {sessions_max}?" in capsys.readouterr().err
    assert status_of("--exec", "/nonexistent {socket} {print} {}", "--run", "greeting/once") == 2
    assert "cannot start" in capsys.readouterr().err


def test_server_that_dies_of_what_came_before_is_told_from_one_that_dies_of_the_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "dies.py"
    once = "if client.recv(100) and not os.path.exists(sys.argv[2]):\n        open(sys.argv[2], 'w')"
    program.write_text(DIES.replace("if client.recv(100):", once))
    command = f"{sys.executable} {program} {{socket}} {tmp_path / 'died'}"
    words = ["--exec", command, "--run", "greeting/once", "--deadline", "5"]
    assert status_of(*words) == 2
    assert "started again, it does not die of this case alone" in capsys.readouterr().out


def test_long_run_tells_its_seed_and_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--exec", REFERENCE, "--model", "20", "--histories", "1", "--seed", "7") == 0
    told = capsys.readouterr().err
    assert "lockstep, seed 7, in which no time passes" in told
    assert "concurrent histories, seed 7" in told


def test_progress_is_told_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    instants_s = iter([0.0, 9.0, 10.0, 11.0, 20.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(instants_s))
    with Progress("traces of x", "traces", 50) as progress:
        for done in (1, 2, 3, 4):
            progress(done)
    assert capsys.readouterr().err == "traces of x\n2 of 50 traces\n4 of 50 traces\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has nothing"),
        ('[[deviations]]\nreason = "x"\n', "has deviations"),
        ("deviation = 3\n", "has deviation"),
        ("deviation = [3]\n", "is 3 and not a table"),
        ('[[deviation]]\nclauses = ["CONN-1"]\ncases = []\nreason = "x"\n', "cases must be a list of strings"),
        ('[[deviation]]\nclauses = ["CONN-1"]\ncases = "greeting/once"\nreason = "x"\n', "cases must be a list"),
        ('[[deviation]]\nclauses = ["NOPE-7"]\ncases = ["greeting/once"]\nreason = "x"\n', "nobody states NOPE-7"),
        ("\xff", "cannot read the expected failures"),
    ],
)
def test_expectations_that_expect_nothing_are_2(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = tmp_path / "expected.toml"
    expected.write_bytes(text.encode("latin-1"))
    assert status_of("--exec", REFERENCE, "--run", "greeting/once", "--expect-fail", str(expected)) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--json", "--junit", "--tap", "--html", "--markdown", "--save-trace"])
def test_report_that_cannot_be_written_is_2_before_anything_is_tried(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of("--exec", REFERENCE, "--run", "greeting/once", option, str(tmp_path / "no" / "x")) == 2
    said = capsys.readouterr()
    assert "cannot write" in said.err
    assert said.out == ""


def test_run_without_a_verdict_leaves_no_empty_report(tmp_path: Path) -> None:
    assert status_of("--exec", "/nonexistent/cache {socket}", "--json", str(tmp_path / "run.json")) == 2
    assert list(tmp_path.iterdir()) == []


def test_server_that_sends_without_end_is_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "floods.py"
    program.write_text(
        DIES.replace("    if client.recv(100):\n        os._exit(3)", FLOOD).replace(
            "socket, sys", "socket, sys, threading"
        )
    )
    words = ["--exec", f"{sys.executable} {program} {{socket}}", "--run", "requests/unknown-name", "--deadline", "0.3"]
    assert status_of(*words) == 1
    assert "no end of it within 0.3 s" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--json", "--markdown"])
def test_report_on_a_full_disk_is_2(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--exec", REFERENCE, "--run", "greeting/once", option, "/dev/full") == 2
    assert "cannot write /dev/full: No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize(("redirection", "status"), [(">/dev/full", 2), ("<&- >&- 2>&-", 0)])
def test_output_that_is_full_or_closed_gets_no_traceback(redirection: str, status: int) -> None:
    words = [sys.executable, "-m", "scache_conformance", "--exec", REFERENCE, "--run", "greeting/once"]
    done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *words], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr


DAEMON = """
import os, sys
if os.fork():
    os.wait()
os.setsid()
lifeline = open(sys.argv[1], "w", 1)
os.set_inheritable(lifeline.fileno(), True)
print("a daemon", file=lifeline)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def test_daemon_does_not_outlive_the_suite(tmp_path: Path) -> None:
    program, alive = tmp_path / "daemon.py", tmp_path / "alive"
    program.write_text(DAEMON)
    os.mkfifo(alive)
    command = f"{sys.executable} {program} {alive} -m scache_reference --listen {{socket}}"
    words = [sys.executable, "-m", "scache_conformance", "--exec", command, "--run", "greeting/once"]
    suite = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with suite, alive.open() as lifeline:  # opens when the daemon runs, and ends when it ends
        assert lifeline.readline() == "a daemon\n"
        assert suite.wait(60) == 0
        ready, _, _ = select.select([lifeline], [], [], 10)
        assert ready, "the daemon still runs"
        assert lifeline.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_suite_leaves_no_server_behind(number: int, tmp_path: Path) -> None:
    program, alive = tmp_path / "mute.py", tmp_path / "alive"
    program.write_text(MUTE)
    os.mkfifo(alive)
    command = f"sh -c '{sys.executable} {program} $0 {alive}; true' {{socket}}"
    words = [sys.executable, "-m", "scache_conformance", "--exec", command, "--deadline", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    suite = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    with suite, alive.open() as lifeline:  # opens when the server has a client, and ends when the server does
        assert lifeline.readline() == "a client\n"
        for _ in range(3):
            suite.send_signal(number)
        _, said = suite.communicate(timeout=60)
        assert lifeline.read() == ""
    assert (suite.returncode, said) == (2, "scache-conformance: interrupted; ending the servers that were started\n")
    assert list(tmp_path.glob("scache-conformance-*")) == []


def test_reader_who_has_seen_enough_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = ["--list", "--run", "greeting/*"]  # little enough to be written at the end only
    done = subprocess.run(
        [sys.executable, "-m", "scache_conformance", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )
    os.close(writer)
    assert done.stderr == b""


def test_closed_output_is_no_failure() -> None:
    command = f"exec {sys.executable} -m scache_conformance --list >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")


def test_log_of_a_server_that_died_cannot_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "dies.py"
    program.write_text(DIES.replace("os._exit(3)", "print('\\x1b]0;owned\\x07', flush=True); os._exit(3)"))
    junit = tmp_path / "junit.xml"
    words = ["--exec", f"{sys.executable} {program} {{socket}}", "--run", "greeting/once", "--deadline", "5"]
    assert status_of(*words, "--junit", str(junit)) == 2
    assert "\\x1b]0;owned" in capsys.readouterr().out
    ElementTree.parse(junit)


def test_server_that_does_not_answer_is_not_taken_for_a_slow_machine() -> None:
    mutant = f"{sys.executable} -m tests.wrong no-invitation --listen {{socket}}"
    with CommandServer(mutant, Declared(deadline_s=1.1)) as target:
        run = lockstep.run(target, steps_min=100, seed_number=1, shorten_s_max=0.0)
        recorded = histories.run(target, count=3, seed_number=1)
    assert run.divergence is not None
    assert run.divergence.is_silence
    assert recorded.failure is not None
    assert "nothing within 1.1 s" in recorded.failure.reason


def test_help_names_every_placeholder(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--help") == 0
    page = capsys.readouterr().out
    assert [name for name in PLACEHOLDERS if f"  {{{name}}}" not in page] == []


def test_list_needs_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--list", "--clause", "CONN-4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all("CONN-4" in line for line in lines)


def test_help_is_a_manual(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--help") == 0
    page = capsys.readouterr().out
    headings = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS", "PLACEHOLDERS IN A COMMAND"]
    headings += ["EXIT STATUS", "EXAMPLES"]
    assert [line for line in page.splitlines() if line in headings] == headings


def test_server_that_is_broken_at_the_root_is_told_so_and_the_rest_is_not_tried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mutant = f"{sys.executable} -m tests.wrong replies-have-no-end --listen {{socket}}"
    assert status_of("--exec", mutant, "--deadline", "0.1") == 1
    said = capsys.readouterr().out
    assert "FAIL replies are not terminated: " in said
    assert "THIS DECIDED: expected a reply of status" in said
    assert "not tried: replies are not terminated (find_endp of an unknown label)" in said
    assert len(said.splitlines()) < 60


def test_wrong_ttl_limit_is_guessed_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    command = f"{UNDER_CLOCK} scache_reference --listen {{socket}} --ttl-limit 4"
    assert status_of("--exec", command, "--run", "ttl/binding-cap", "--deadline", "0.5") == 1
    assert "is its ttl limit 2 s?" in (said := capsys.readouterr().out)
    assert "lives 4 s" in said


def test_ttl_limit_that_the_suite_gives_the_server_is_not_doubted(capsys: pytest.CaptureFixture[str]) -> None:
    uncapped = rules()["session-ttl-uncapped"].command
    assert status_of("--exec", uncapped, "--run", "ttl/session-cap", "--deadline", "0.5") == 1
    assert "is its ttl limit" not in capsys.readouterr().out


def test_fail_fast_ends_the_run_at_the_first_failure(capsys: pytest.CaptureFixture[str]) -> None:
    mutant = f"{sys.executable} -m tests.wrong newest-first --listen {{socket}}"
    assert status_of("--exec", mutant, "--run", "endp/*", "--fail-fast", "--deadline", "0.5") == 1
    said = capsys.readouterr().out
    assert said.count("FAIL  MUST   endp/") == 1
    assert "--fail-fast was given" in said


def test_clause_is_shown_with_its_cases_and_the_published_servers(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("clause", "endp-3") == 0
    said = capsys.readouterr().out
    assert said.startswith("ENDP-3  A find hands out the oldest")
    assert "MUST   endp/oldest-first" in said
    assert "Postfix scache(8): " in said
    assert status_of("clause", "CONN-999") == 2


def test_clause_may_be_named_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of("--list", "--clause", "conn-4") == 0
    assert "CONN-4" in capsys.readouterr().out


def test_log_of_a_server_that_died_at_the_start_is_shown_from_head_and_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "talks.py"
    program.write_text("print('the cause'); [print(f'frame {n}') for n in range(50)]; print('the consequence')")
    assert status_of("--exec", f"{sys.executable} {program} {{socket}}") == 2
    said = capsys.readouterr().err
    assert "the cause | frame 0" in said
    assert "the consequence" in said
    assert "[44 lines left out]" in said

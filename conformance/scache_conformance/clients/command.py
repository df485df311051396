"""`scache-conformance client`: hold a client against the specification.

The suite starts the client once for each case, plays its server, and judges three things: what the client sends, what
it says of each step, and that it ends in time with as many open descriptors as before.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from scache_conformance.clients.cases import CASES, ClientCase
from scache_conformance.clients.stage import Stage
from scache_conformance.reports import run as runs
from scache_conformance.reports.terminal import Terminal
from scache_conformance.suite.verdicts import Exit, Level, Result, Verdict, exit_status
from scache_conformance.wire import processes
from scache_conformance.wire.folders import SHORT, place_for
from scache_conformance.wire.line import readable
from scache_conformance.wire.transcript import Transcript, show
from scache_conformance.wire.unmet import Silence, Unmet

TIMEOUT_S: Final = 1.0
"""How long the client may wait for the server in one attempt, unless told otherwise."""

ATTEMPTS_MAX: Final = 2
"""How often a client may try a step, as Postfix's does."""

SLACK_S: Final = 5.0
"""What a client may take beyond its own time: to start, to pause between attempts, on a busy machine. Arbitrary."""

PREFIX: Final = "scache-conformance-"
"""Of the folder that holds the socket and the script of one case."""

LINE_BYTES_MAX: Final = 65_536
"""Longest line that a client may say. Arbitrary: the words of a case are short."""

_WORD: Final = re.compile("[!-~]+")
"""A path that can stand in a script: scripts are ASCII, and their words end at a blank."""

AT_ONCE: Final = 4
"""How many clients run at once. Arbitrary: they wait most of the time."""

HELP: Final = """\
The suite runs the client once for each case, without a shell, and inspects its process. In the command,
{socket} stands for the path of the server's socket, {script} for the path of a script, and {timeout_s} for
the longest time to wait for the server. A script is ASCII text. One blank separates two words of a line, and
no word is empty. The client reads the script line by line. It performs each line and prints one word for it:

  save_endp ENDPOINT PROPERTIES TTL PATH   connect to the UNIX stream socket PATH and park that connection;
                                           print saved or failed
  save_dest DESTINATION PROPERTIES ENDPOINT TTL
                                           save the binding; print saved or failed
  find_endp ENDPOINT                       find a connection, write the byte `!` to it, and close it;
                                           print found, nothing or failed
  find_dest DESTINATION                    do what find_endp does, by a destination
  close                                    close the connection to the server; print closed
  pause                                    print paused, then read one line from standard input

After the last line, the client exits with status 0, even if a line failed. The suite counts the client's
descriptors at the first and at the last pause, in /proc/PID/fd.
"""


def parser_of_clients() -> argparse.ArgumentParser:
    """Return the parser of `scache-conformance client`."""
    parser = argparse.ArgumentParser(
        prog="scache-conformance client",
        description="Test a client against the specification. The suite acts as the server.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--exec",
        metavar="COMMAND",
        required=True,
        help="command that runs the client, such as 'my-client {socket} {script}'",
    )
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=TIMEOUT_S, help="value of {timeout_s}, in seconds (default: 1)"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the client in reports")
    parser.add_argument(
        "--run", metavar="GLOB", action="append", default=[], help="cases whose name matches this pattern; repeatable"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show each result, and every failure in full")
    parser.add_argument("--json", metavar="FILE", type=Path, help="all results as JSON; `report` reads this file")
    return parser


def run_of(client: str, plugged_in: str, results: Sequence[Result], started: str, seconds: float) -> runs.Run:
    """Return the run of a client, for reports; its servers serve in real time."""
    return runs.Run(
        server=client,
        plugged_in=plugged_in,
        ttl_limit_s=2,
        clock="real",
        started=started,
        seconds=round(seconds, 1),
        strict=False,
        results=tuple(results),
    )


def run(words: Sequence[str]) -> Exit:
    """Hold the client against every case that was chosen."""
    options = parser_of_clients().parse_args(words)
    cases = [each for each in CASES if not options.run or any(fnmatchcase(each.slug, glob) for glob in options.run)]
    try:
        command = shlex.split(options.exec)
        if "{socket}" not in options.exec or "{script}" not in options.exec:
            raise ValueError("--exec: the command needs {socket} and {script}: write them in place of the two paths")
        if not 0 < options.timeout < float("inf"):
            raise ValueError(f"--timeout {options.timeout}: write a number of seconds above 0")
        if not cases:
            raise ValueError("no case matches --run: leave it out to run all cases")
        if options.json is not None:
            options.json.open("ab").close()
    except (ValueError, OSError) as error:
        print(f"scache-conformance client: {error}", file=sys.stderr)
        return Exit.NO_VERDICT
    terminal = Terminal(sys.stdout, len(cases), verbose=options.verbose)
    began_s, started = time.monotonic(), datetime.now().astimezone().isoformat(timespec="seconds")
    results = []
    with ThreadPoolExecutor(AT_ONCE, "client") as pool:
        for result in pool.map(lambda case: hold(case, command, options.timeout), cases):
            results.append(result)
            terminal.progress(result)
    name = options.name or Path(command[0]).name
    done = run_of(name, f"client --exec '{options.exec}'", results, started, time.monotonic() - began_s)
    terminal.summary(done)
    if options.json is not None:
        try:
            runs.write(options.json, runs.to_json(done))
        except runs.NotWritten as error:
            print(f"scache-conformance client: {error}", file=sys.stderr)
            return Exit.NO_VERDICT
    return exit_status(results, strict=False)


def hold(case: ClientCase, command: Sequence[str], timeout_s: float) -> Result:
    """Hold a client against one case."""
    return judged(case, lambda transcript: _hold(case, command, timeout_s, transcript))


def judged(case: ClientCase, play: Callable[[Transcript], None]) -> Result:
    """Return the verdict on a case from what playing it raises."""
    transcript, began_s = Transcript(), time.monotonic()
    verdict, reason, expected, actual = Verdict.PASS, "", "", ""
    try:
        play(transcript)
    except Unmet as unmet:
        verdict, expected, actual = Verdict.FAIL, unmet.expected, unmet.actual
        transcript.decided(unmet.at_s, str(unmet))
    except OSError as error:
        verdict, reason = Verdict.ERROR, f"{type(error).__name__}: {error}"
    return Result(
        slug=case.slug,
        title=case.title,
        clauses=case.clauses,
        level=Level.MUST,
        verdict=verdict,
        reason=reason,
        expected=expected,
        actual=actual,
        seconds=round(time.monotonic() - began_s, 3),
        transcript=transcript.lines(),
    )


def _hold(case: ClientCase, command: Sequence[str], timeout_s: float, transcript: Transcript) -> None:
    patience_s = ATTEMPTS_MAX * timeout_s + SLACK_S
    with ExitStack() as closing:
        place = place_for(PREFIX, "cache")
        if not _WORD.fullmatch(place):
            place = SHORT
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=place)))
        stage = Stage(folder, transcript, patience_s, closing)
        script = folder / "script"
        steps = [step.format(peer=stage.peer_path) for step in case.script]
        script.write_text("\n".join(["pause", *steps, "close", "pause"]) + "\n", encoding="ascii")
        values = {"socket": str(stage.socket_path), "script": str(script), "timeout_s": str(timeout_s)}
        client = _Client([_filled_in(word, values) for word in command], patience_s, transcript, closing)
        client.says({"paused"})
        before = client.descriptor_count()
        client.goes_on()
        case.serve(stage)
        for words in case.words:
            client.says(words)
        client.says({"closed"})
        client.says({"paused"})
        if (after := client.descriptor_count()) != before:
            raise Unmet(f"as many open descriptors as before, {before}", f"{after}")
        client.goes_on()
        client.exits()


def _filled_in(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


class _Client:
    """The process of the client."""

    def __init__(self, command: Sequence[str], patience_s: float, transcript: Transcript, closing: ExitStack) -> None:
        self._patience_s: Final = patience_s
        self._transcript: Final = transcript
        with processes.STARTING:
            self._process: Final = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that what it starts can be ended, too
            )
        closing.callback(self._end)
        self._said = b""

    def says(self, words: frozenset[str] | set[str]) -> None:
        """Insist that the next line is one of these words."""
        expected = f"the client to say {' or '.join(sorted(words))}"
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline_s = time.monotonic() + self._patience_s
        while b"\n" not in self._said:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not readable([fd], left_s):
                raise Silence(expected, f"nothing within {self._patience_s} s")
            more = os.read(fd, 4096)
            if not more:
                raise Unmet(expected, self._fate())
            self._said += more
            if len(self._said) > LINE_BYTES_MAX and b"\n" not in self._said:
                raise Unmet(expected, f"a line of more than {LINE_BYTES_MAX} bytes")
        line, _, self._said = self._said.partition(b"\n")
        self._transcript.note("", f"the client says {show(line)}")
        if line.decode(errors="replace") not in words:
            raise Unmet(expected, show(line))

    def _fate(self) -> str:
        """Say what became of a client that has closed its standard output."""
        try:
            return f"it ended with status {self._process.wait(self._patience_s)}"
        except subprocess.TimeoutExpired:
            return "it closed its standard output, and runs on"

    def goes_on(self) -> None:
        """End a pause."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Unmet("the client to go on after a pause", "it has closed its standard input") from error

    def descriptor_count(self) -> int:
        """Count the open descriptors of the process."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def exits(self) -> None:
        """Insist on exit status 0."""
        try:
            status = self._process.wait(self._patience_s)
        except subprocess.TimeoutExpired as error:
            raise Silence("the client to exit", f"it runs {self._patience_s} s later") from error
        if status != 0:
            raise Unmet("exit status 0", str(status))

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        processes.end_group(self._process, self._patience_s)
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # what was not read before it ended
        self._process.stdout.close()

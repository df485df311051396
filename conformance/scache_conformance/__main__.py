"""`scache-conformance`: hold a server against the specification and say how it came out.

The command line, where reports go, and the exit status.
"""

import argparse
import errno
import io
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Final

from scache_conformance.clients import command as client
from scache_conformance.generated import command as generated
from scache_conformance.generated.rules import RuleSet
from scache_conformance.reports import clauses, streams
from scache_conformance.reports import run as runs
from scache_conformance.reports.html import to_html
from scache_conformance.reports.junit import to_junit
from scache_conformance.reports.markdown import to_markdown
from scache_conformance.reports.tap import to_tap
from scache_conformance.reports.terminal import Terminal
from scache_conformance.servers import plug
from scache_conformance.servers.target import DEFAULTS, ServerDied, Target
from scache_conformance.servers.unavailable import Unavailable
from scache_conformance.suite import expectations
from scache_conformance.suite.registry import CLAUSES, Case, all_cases, choose
from scache_conformance.suite.roots import ttl_hint
from scache_conformance.suite.runner import Runner
from scache_conformance.suite.unobservable import UNOBSERVABLE
from scache_conformance.suite.verdicts import Exit, exit_status
from scache_conformance.watch import command as watch
from scache_conformance.wire.unmet import Unmet

NAME: Final = "scache-conformance - test a shared connection cache server against its specification"

DESCRIPTION: Final = """\
DESCRIPTION
  Tests a shared connection cache server over its socket, clause by clause. The server may be written in
  any language.

  Each case has a level:
    MUST    demanded of every server: a failure costs other clients their connections or their time
    SHOULD  demanded by the specification: a failure harms only the client that makes the request
    INFO    nothing is demanded; the report shows what the server does

  Each case gets a verdict:
    PASS    the server does what the clause says
    FAIL    the server does something else
    XFAIL   the server fails, as expected (--expect-fail)
    XPASS   the server passes, but was expected to fail; this counts as a failure
    SKIP    the case was not possible; the reason says what is missing
    INFO    what the server does
    ERROR   no verdict: the server ended during the case or did not start, or the suite failed
"""

EPILOG: Final = """\
SUBCOMMANDS
  report RUN.json… [--html FILE] [--markdown FILE]
                        write a matrix of clauses and servers, from several runs
  clause ID             show a clause, its cases, and what the published servers do
  client --exec 'COMMAND {socket} {script}'
                        test a client; the suite acts as the server
  watch --listen A --connect B
                        pass on the traffic between clients and a server, show it, and judge both sides
  traces [FILE]         write every transition of a small scope as NDJSON, for tests in any language
  replay FILE           play such a file on a server

  'scache-conformance SUBCOMMAND --help' explains a subcommand.

PLACEHOLDERS IN A COMMAND
  {socket}   the path of the socket on which the server must listen
  {clock}    the path of a clock file (see --clock-file), or an empty word. With a clock file, the server
             reads it at least ten times a second and uses it for lifetimes, time-outs, idleness and
             statistics. With an empty word, it uses the machine's clock, so that its timers are tested

  The other placeholders are limits. Their usual values are below; some cases use other values, and
  --limit NAME=N changes them:
%(limits)s

  --exec runs the command without a shell. Quotes have their usual meaning; variables, pipes and
  redirections do not. For these, use sh -c '…'. The suite changes the clock file in place: map it, or
  read it each time.

EXIT STATUS
  0   no MUST case fails, except expected failures (with --strict: no SHOULD case either)
  1   a case fails, or an expected failure passes
  2   no verdict: no case was run, the server ended or did not start, or the command line is wrong

EXAMPLES
  scache-conformance --postfix --expect-fail postfix-scache
  scache-conformance --exec 'my-cache --listen {socket} --ttl-limit {ttl_limit_s}s' --json mine.json
  scache-conformance --socket /run/my-cache.sock --clause ENDP-3 -v
  scache-conformance report postfix.json mine.json --html matrix.html
"""


_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the run, and see to it: a server that was started, and its folder, must not outlive the suite."""
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    _no_verdict("interrupted; ending the servers that were started")
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    streams.fill()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where a caller has put something else in its place
            stream.reconfigure(errors="backslashreplace")
    commands = {
        "report": report,
        "traces": export_traces,
        "replay": replay,
        "clause": clauses.show,
        "client": client.run,
        "watch": watch.run,
    }
    command = commands.get(words[0]) if words else None
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as nohup does
            signal.signal(number, _interrupt)
    try:
        status = command(words[1:]) if command is not None else run(words)
        sys.stdout.flush()  # a reader that has gone is noticed here, and not at the end of the interpreter
    except KeyboardInterrupt:
        before = {}  # signals stay ignored until this process has ended: another one must not meet the default
        status = Exit.NO_VERDICT
    except OSError as error:
        if error.errno not in streams.NOT_TAKEN:
            raise
        if error.errno != errno.EPIPE:  # else whoever read has seen enough
            _no_verdict(f"cannot write the output: {error.strerror}")
        # What is still buffered would fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = Exit.NO_VERDICT
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(int(status))


def run(words: Sequence[str]) -> Exit:
    """Try cases on a server."""
    parser = parser_of_runs()
    if "--list" in words:
        return _list(parser, words)
    options = parser.parse_args(words)
    try:
        cases = _chosen(options)
        target = plug.target_from(options)
        clock = "virtual" if target.has_clock else "real"
        expected = (
            expectations.read(options.expect_fail, all_cases(), clock)
            if options.expect_fail
            else expectations.Expectations({})
        )
        for path in (*_reports_of(options), options.save_trace):
            _insist_on_writable(path)
    except (ValueError, expectations.BadExpectations) as error:
        return _no_verdict(str(error))
    if options.model is not None or options.histories is not None:
        if any(_reports_of(options)) or options.run or options.clause or options.expect_fail:
            return _no_verdict(
                "--model and --histories run instead of the cases: leave out reports, --run, --clause and --expect-fail"
            )
        return _generate(target, options)
    if not cases:
        return _no_verdict("no case matches --run and --clause: --list shows all cases")
    terminal = Terminal(sys.stdout, len(cases), verbose=options.verbose)
    try:
        with target:
            done = _run(target, cases, expected.reasons, terminal, options)
            hint = ttl_hint(target, done.results)
    except (ServerDied, Unavailable) as error:
        return _no_verdict(str(error))
    try:
        try:
            terminal.summary(done, hint, expected.differences(done.results, plug.postfix_version(options)))
        finally:
            _write_reports(options, done)
    except runs.NotWritten as error:
        return _no_verdict(str(error))
    return exit_status(done.results, strict=options.strict)


def _generate(target: Target, options: argparse.Namespace) -> Exit:
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    rule_set = RuleSet.SEQUENTIAL if options.sequential or plug.postfix_version(options) is not None else RuleSet.ALL
    statuses = []
    try:
        with target:
            if options.model is not None:
                statuses.append(generated.run_model(target, options.model, seed, rule_set, options.save_trace))
            if options.histories is not None:
                statuses.append(generated.run_histories(target, options.histories, seed, rule_set))
            target.check_alive()
    except (ServerDied, Unavailable, Unmet) as error:
        return _no_verdict(str(error))
    return max(statuses)


def export_traces(words: Sequence[str]) -> Exit:
    """Write traces."""
    parser = argparse.ArgumentParser(
        prog="scache-conformance traces",
        description="Write every transition of a small scope as NDJSON, for tests in any language.",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help="file to write (default: standard output)")
    path = parser.parse_args(words).file
    try:
        _insist_on_writable(path)
    except ValueError as error:
        return _no_verdict(str(error))
    return generated.write_traces(path)


def replay(words: Sequence[str]) -> Exit:
    """Play traces on a server."""
    parser = argparse.ArgumentParser(prog="scache-conformance replay", description="Play a file of traces on a server.")
    parser.add_argument("file", metavar="FILE", type=Path, help="file that `traces` or --save-trace has written")
    plug.add_options(parser)
    options = parser.parse_args(words)
    try:
        with plug.target_from(options) as target:
            return generated.replay_traces(target, options.file)
    except (ServerDied, Unavailable, Unmet, ValueError, OSError) as error:
        return _no_verdict(str(error))


def report(words: Sequence[str]) -> Exit:
    """Write reports on several runs."""
    parser = argparse.ArgumentParser(
        prog="scache-conformance report", description="Write a matrix of clauses and servers, from several runs."
    )
    parser.add_argument("runs", metavar="RUN.json", nargs="+", type=Path, help="file that --json has written")
    _add_matrix_options(parser)
    options = parser.parse_args(words)
    if options.html is None and options.markdown is None:
        parser.error("nothing to write: use --html FILE or --markdown FILE")
    try:
        read = [runs.read(path) for path in options.runs]
        for path in (options.html, options.markdown):
            _insist_on_writable(path)
    except (runs.NotARun, ValueError) as error:
        return _no_verdict(str(error))
    try:
        _write_matrix(options, read)
    except runs.NotWritten as error:
        return _no_verdict(str(error))
    return Exit.GOOD


class ManualParser(argparse.ArgumentParser):
    """Lays out its help as a manual page: sections with headings in capitals."""

    def format_help(self) -> str:
        """Return the help."""
        page = super().format_help().replace("usage: ", "SYNOPSIS\n  ", 1)
        headed = re.sub(r"^(?! )([a-z].*):$", lambda heading: heading[1].upper(), page, flags=re.MULTILINE)
        return f"NAME\n  {NAME}\n\n{headed}"


def parser_of_runs() -> argparse.ArgumentParser:
    """Return the parser of the command line without a subcommand."""
    parser = ManualParser(
        prog="scache-conformance",
        description=DESCRIPTION,
        epilog=EPILOG % {"limits": _limits()},
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, width=min(100, shutil.get_terminal_size().columns), max_help_position=24
        ),
    )
    plug.add_options(parser)
    _add_choice_options(parser)
    _add_generated_options(parser)
    verdict = parser.add_argument_group("what counts")
    verdict.add_argument("--strict", action="store_true", help="a failure of a SHOULD case counts too")
    verdict.add_argument("--fail-fast", action="store_true", help="end the run at the first failure that counts")
    verdict.add_argument(
        "--expect-fail",
        metavar="FILE",
        type=expectations.find,
        help="file of expected failures, with their reasons. An expected failure that passes counts as a failure. "
        "postfix-scache is the list for Postfix's scache(8) that comes with the suite",
    )
    reports = parser.add_argument_group("reports")
    reports.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show each result during the run, and every failure in full at the end",
    )
    reports.add_argument("--json", metavar="FILE", type=Path, help="all results as JSON; `report` reads this file")
    reports.add_argument("--junit", metavar="FILE", type=Path, help="results as JUnit XML, for continuous integration")
    reports.add_argument("--tap", metavar="FILE", type=Path, help="results in the Test Anything Protocol, version 14")
    _add_matrix_options(reports)
    return parser


def _limits() -> str:
    defaults = {**DEFAULTS._asdict(), "ttl_limit_s": "what --ttl-limit says"}
    return "\n".join(f"  {{{name}}}".ljust(34) + str(value) for name, value in defaults.items())


def _add_choice_options(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_argument_group("which cases (default: all)")
    choice.add_argument(
        "--run", metavar="GLOB", action="append", default=[], help="cases whose name matches this pattern; repeatable"
    )
    choice.add_argument(
        "--clause", metavar="ID", action="append", default=[], help="cases of this clause; repeatable", type=str.upper
    )
    choice.add_argument("--list", action="store_true", help="list the cases, and run none; needs no server")


def _add_generated_options(parser: argparse.ArgumentParser) -> None:
    made_up = parser.add_argument_group("generated runs, instead of cases")
    made_up.add_argument(
        "--model", metavar="STEPS", nargs="?", const=generated.STEPS, type=int,
        help=f"compare this many random steps with the specification (default: {generated.STEPS})",
    )  # fmt: skip
    made_up.add_argument(
        "--histories", metavar="N", nargs="?", const=generated.HISTORIES, type=int,
        help=f"check this many runs of concurrent clients for linearizability (default: {generated.HISTORIES})",
    )  # fmt: skip
    made_up.add_argument("--seed", metavar="N", type=int, help="repeat the runs of this seed (default: a random seed)")
    made_up.add_argument(
        "--save-trace", metavar="FILE", type=Path, help="file to which --model writes a run that fails"
    )
    made_up.add_argument(
        "--sequential",
        action="store_true",
        help="run one dance at a time, for servers that block; the default for the installed scache(8)",
    )


def _add_matrix_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    parser.add_argument("--html", metavar="FILE", type=Path, help="matrix of clauses and servers, as one HTML file")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="matrix of clauses and servers, as Markdown")


def _list(parser: argparse.ArgumentParser, words: Sequence[str]) -> Exit:
    alone = argparse.ArgumentParser(prog=parser.prog)
    _add_choice_options(alone)
    options, _ = alone.parse_known_args(words)
    try:
        cases = _chosen(options)
    except ValueError as error:
        return _no_verdict(str(error))
    slug_width = max((len(case.slug) for case in cases), default=0)
    for case in cases:
        if sys.stdout.isatty():  # for people; one case a line is for programs
            print(f"{case.slug:<{slug_width}} {case.level.name:<6} {' '.join(case.clauses)}\n    {case.title}")
        else:
            print(f"{case.slug:<{slug_width}} {case.level.name:<6} {' '.join(case.clauses):<24} {case.title}")
    for clause in options.clause:
        if clause in UNOBSERVABLE:
            print(f"{clause} has no case: {UNOBSERVABLE[clause]}")
    return Exit.GOOD if cases else _no_verdict("no case matches --run and --clause: --list alone shows all cases")


def _chosen(options: argparse.Namespace) -> tuple[Case, ...]:
    if unknown := [clause for clause in options.clause if clause not in CLAUSES]:
        raise ValueError(f"--clause {unknown[0]}: there is no such clause; write one of {', '.join(CLAUSES)}")
    return choose(all_cases(), options.run, options.clause)


def _run(
    target: Target, cases: Sequence[Case], excuses: dict[str, str], terminal: Terminal, options: argparse.Namespace
) -> runs.Run:
    began_s, started = time.monotonic(), datetime.now().astimezone().isoformat(timespec="seconds")
    clock = "virtual" if target.has_clock else "real"
    results = Runner(target, excuses, terminal.progress, fail_fast=options.fail_fast, strict=options.strict).run(cases)
    return runs.Run(
        server=target.name,
        plugged_in=plug.describe(options),
        ttl_limit_s=target.declared.ttl_limit_s,
        clock=clock,
        started=started,
        seconds=round(time.monotonic() - began_s, 1),
        strict=options.strict,
        results=results,
    )


def _reports_of(options: argparse.Namespace) -> list[Path | None]:
    return [options.json, options.junit, options.tap, options.html, options.markdown]


def _insist_on_writable(path: Path | None) -> None:
    """Raise ValueError unless a file can be written: better now than when everything has been tried.

    A file that was not there is not left behind: a run may end without a report.
    """
    if path is not None:
        try:
            was_there = path.exists()
            path.open("ab").close()
            if not was_there:
                path.unlink()
        except OSError as error:
            raise ValueError(f"cannot write {path}: {error.strerror}; choose another file") from error


def _write_reports(options: argparse.Namespace, done: runs.Run) -> None:
    for path, text in ((options.json, runs.to_json), (options.junit, to_junit), (options.tap, to_tap)):
        if path is not None:
            runs.write(path, text(done))
    _write_matrix(options, [done])


def _write_matrix(options: argparse.Namespace, done: Sequence[runs.Run]) -> None:
    if options.html is not None:
        runs.write(options.html, to_html(done))
    if options.markdown is not None:
        runs.write(options.markdown, to_markdown(done))


def _no_verdict(message: str) -> Exit:
    print(f"scache-conformance: {message}", file=sys.stderr)
    return Exit.NO_VERDICT


if __name__ == "__main__":
    main()

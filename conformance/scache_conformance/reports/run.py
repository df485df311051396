"""One run of the suite against one server, as data and as JSON: what every report is made from."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

from scache_conformance.suite.registry import CLAUSES
from scache_conformance.suite.verdicts import Exit, Level, Result, Verdict, exit_status

FORMAT: Final = "scache-conformance-run"
VERSION: Final = 1


class NotWritten(Exception):  # noqa: N818 - the file system's fault; the text says which
    """A report cannot be written."""


def write(path: Path, text: str) -> None:
    """Write a report; raises NotWritten."""
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise NotWritten(f"cannot write {path}: {error.strerror}") from error


class NotARun(Exception):  # noqa: N818 - the file's mistake; the text says which
    """A file does not hold a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was run, how, and what came of it. `started` is local time, ISO 8601; `plugged_in` the options for that."""

    server: str
    plugged_in: str
    ttl_limit_s: int
    clock: str
    started: str
    seconds: float
    strict: bool
    results: tuple[Result, ...]

    def counts(self) -> dict[str, int]:
        """Return how many cases got each word of verdict, the frequent first."""
        return dict(Counter(result.word for result in self.results).most_common())

    @property
    def status(self) -> Exit:
        """Return the exit status that the run had."""
        return exit_status(self.results, strict=self.strict)

    @property
    def outcome(self) -> str:
        """Say how it came out, in a few words."""
        known = sum(result.is_excused for result in self.results)
        weak = sum(result.verdict is Verdict.FAIL and not result.is_excused for result in self.results)
        exceptions = [f"{known} known deviations"] * bool(known) + [f"{weak} SHOULD"] * bool(weak)
        match self.status:
            case Exit.GOOD:
                return f"conforms, but for {' and '.join(exceptions)}" if exceptions else "conforms"
            case Exit.FAILED:
                return "does not conform"
            case Exit.NO_VERDICT:
                return "no verdict"

    def failures(self) -> tuple[Result, ...]:
        """Return what counts against the server, and what got no verdict."""
        return tuple(
            result
            for result in self.results
            if result.counts_as_failure(strict=self.strict) or result.verdict is Verdict.ERROR
        )


def clause_line(clause_id: str) -> str:
    """Return a clause on one line, with its tags."""
    clause = CLAUSES[clause_id]
    tags = "".join(f" [{tag.name}]" for tag in sorted(clause.tags, key=lambda tag: tag.name))
    return f"{clause_id}  {clause.text}{tags}"


def to_json(run: Run) -> str:
    """Return a run as JSON, with the texts of the clauses that it tried."""
    tried = sorted(
        {clause for result in run.results for clause in result.clauses}, key=lambda each: CLAUSES[each].order
    )
    document = {
        "format": FORMAT,
        "version": VERSION,
        "server": run.server,
        "plugged_in": run.plugged_in,
        "ttl_limit_s": run.ttl_limit_s,
        "clock": run.clock,
        "started": run.started,
        "seconds": run.seconds,
        "strict": run.strict,
        "exit_status": int(run.status),
        "counts": run.counts(),
        "clauses": {clause: clause_line(clause).partition("  ")[2] for clause in tried},
        "results": [_result_to_json(result) for result in run.results],
    }
    return json.dumps(document, indent=1) + "\n"


def read(path: Path) -> Run:
    """Return the run in a file. Raises NotARun."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            raise NotARun(f"{path} holds {document['format']} {document['version']}, not {FORMAT} {VERSION}")
        return Run(
            server=_of(str, document["server"]),
            plugged_in=_of(str, document["plugged_in"]),
            ttl_limit_s=_of(int, document["ttl_limit_s"]),
            clock=_of(str, document["clock"]),
            started=_of(str, document["started"]),
            seconds=float(document["seconds"]),
            strict=_of(bool, document["strict"]),
            results=tuple(_result_from_json(result) for result in document["results"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotARun(f"{path} does not hold a run, as --json writes them: {error!r}") from error


def _result_to_json(result: Result) -> dict[str, object]:
    fields = asdict(result)
    return {**fields, "level": result.level.name, "verdict": result.verdict.name, "word": result.word}


def _result_from_json(fields: dict[str, object]) -> Result:
    excuse = fields["excuse"]
    return Result(
        slug=str(fields["slug"]),
        title=str(fields["title"]),
        clauses=_texts(fields["clauses"]),
        level=Level[str(fields["level"])],
        verdict=Verdict[str(fields["verdict"])],
        seconds=float(str(fields["seconds"])),
        reason=str(fields["reason"]),
        expected=str(fields["expected"]),
        actual=str(fields["actual"]),
        transcript=_texts(fields["transcript"]),
        excuse=None if excuse is None else str(excuse),
        server_died=fields["server_died"] is True,
    )


T = TypeVar("T")


def _of(kind: type[T], value: object) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(str(each) for each in value)

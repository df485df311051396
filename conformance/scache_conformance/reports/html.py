"""The matrix of clauses and servers as one HTML file without other files, with the transcripts behind each cell.

The template is `matrix.html`. Everything that a server sent goes into the page as JSON, and the page shows it as
text. So it cannot become markup.
"""

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from string import Template

from scache_conformance.reports.matrix import MEANINGS, Cell, State, rows, state_of
from scache_conformance.reports.run import Run
from scache_conformance.suite.verdicts import Result

_CODE = re.compile(r"`([^`]*)`")


def to_html(runs: Sequence[Run]) -> str:
    """Return the page for these runs."""
    template = Template(resources.files(__package__).joinpath("matrix.html").read_text(encoding="utf-8"))
    return template.substitute(
        servers="".join(_server(run) for run in runs),
        legend="".join(_legend(state, meaning) for state, meaning in MEANINGS.items()),
        columns="".join('<col class="server">' for _ in runs),
        heads="".join(f"<th scope=col>{escape(run.server)}</th>" for run in runs),
        body="".join(_body(runs)),
        data=_data(runs),
    )


def _server(run: Run) -> str:
    counts = "".join(f"<li class={word.lower()}><b>{count}</b> {word}</li>" for word, count in run.counts().items())
    facts = (
        f"ttl limit {run.ttl_limit_s} s, {run.clock} time, {run.seconds:.1f} s, {run.started[:16].replace('T', ' ')}"
    )
    return (
        f'<section class="card {run.status.name.lower()}"><h2>{escape(run.server)}</h2>'
        f"<p class=outcome>{run.outcome}</p><ul>{counts}</ul>"
        f"<p class=facts>{escape(facts)}</p><p class=facts><code>{escape(run.plugged_in)}</code></p></section>"
    )


def _legend(state: State, meaning: str) -> str:
    return f"<li><span class='sign {state.name.lower()}'>{state.value}</span> {escape(meaning)}</li>"


def _body(runs: Sequence[Run]) -> Iterator[str]:
    for area, clauses in rows(runs).items():
        yield f"<tbody><tr class=area><th colspan={len(runs) + 2} scope=rowgroup>{escape(area)}</th></tr>"
        for row in clauses:
            tags = "".join(f"<span class=tag>{tag.name.lower()}</span>" for tag in row.clause.tags)
            reason = f"<p class=reason>No case: {escape(row.reason)}</p>" if row.reason else ""
            yield f"<tr id={row.clause.id}><th scope=row>{row.clause.id}</th>"
            yield f"<td class=text>{_prose(row.clause.text)} {tags}{reason}</td>"
            for number, cell in enumerate(row.cells):
                yield f"<td class=cell>{_cell(number, row.clause.id, runs[number].server, cell)}</td>"
            yield "</tr>"
        yield "</tbody>"


def _prose(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))


def _cell(run_number: int, clause: str, server: str, cell: Cell) -> str:
    count = f"<small>{cell.passed}/{cell.tried}</small>" if cell.tried else ""
    title = escape(f"{clause} on {server}: {MEANINGS[cell.state]}")
    if not cell.results:
        return f'<span class="sign {cell.state.name.lower()}" title="{title}">{cell.state.value}</span>'
    return (
        f'<button class="sign {cell.state.name.lower()}" title="{title}" aria-label="{title}" '
        f"data-run={run_number} data-clause={clause}>{cell.state.value}{count}</button>"
    )


def _data(runs: Sequence[Run]) -> str:
    document = [{"server": run.server, "results": [_result(result) for result in run.results]} for run in runs]
    # "</" would end the script element, and "<!--" change how it is read: neither is left in a JSON string.
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")


def _result(result: Result) -> dict[str, object]:
    return {
        "slug": result.slug,
        "title": result.title,
        "clauses": result.clauses,
        "level": result.level.name,
        "word": result.word,
        "state": state_of(result).name.lower(),
        "reason": result.reason,
        "excuse": result.excuse or "",
        "expected": result.expected,
        "actual": result.actual,
        "transcript": "\n".join(result.transcript),
    }

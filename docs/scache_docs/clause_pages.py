"""The page of a clause, and the matrix of verdicts: what is known about each clause, with links between the two.

What is said beyond the clause's own text is looked up: its reason, verdicts and wrong servers in `published`, its lines
in `scache_spec.places`, its cases in the suite.
"""

import re
from typing import Final

from scache_conformance.clients.cases import CASES as CLIENT_CASES
from scache_conformance.suite.registry import all_cases
from scache_docs import pictures
from scache_docs.published import CLAUSES, ID, ROOT, Deviation, Results
from scache_docs.what_if import DEEDS, STATES, anchor, answer, pair
from scache_spec.clauses import AREAS, OF_CLIENTS, Clause
from scache_spec.conversation import TRANSITIONS
from scache_spec.places import places

ORDER: Final = list(CLAUSES)
NO_CASE: Final = "None: what the clause says cannot be seen from outside, or it demands nothing."


def linked(text: str, title: str = "", to: str = "clauses/") -> str:
    """Return a text whose clause numbers are links to the clauses' pages, without pictures for other programs."""
    text = re.sub(r"^```mermaid\n.*?^```\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r'<a id="[^"]*"></a>', "", text)
    text = re.sub(r"\[([A-Z]+-[0-9]+)\]\(#[^)]*\)", r"\1", text)
    text = ID.sub(lambda match: f"[{match[1]}]({to}{match[1]}.md)" if match[1] in CLAUSES else match[1], text)
    return f"# {title}\n\n{text}" if title else text


def tags(clause: Clause) -> str:
    """Return the tags of a clause, to stand behind its text."""
    return "".join(f" `{tag.name}`" for tag in sorted(clause.tags, key=lambda tag: tag.name))


def clause_page(clause: Clause, why: str, published: Results, broken: list[tuple[str, str]]) -> str:
    """Return the page of a clause: what one wants to know first comes first, lines of code come last."""
    lines = [f"# {clause.id}", "", f"> {linked(clause.text, to='')}", ""]
    lines += [f"* `{tag.name}`: {tag.value}." for tag in sorted(clause.tags, key=lambda tag: tag.name)]
    lines += ["", f"Area: [{clause.area}: {AREAS[clause.area]}](../{clause.area}.md)", ""]
    if why:
        lines += ["## Why", "", linked(why, to=""), ""]
    if any(row.clause == clause.id for row in TRANSITIONS.values()):
        lines += ["## In the conversation", "", pictures.conversation("{}.html", clause.id), "", *_what_if(clause.id)]
    lines += _verdicts(clause.id, published)
    lines += _cases(clause)
    if broken:
        lines += ["## Servers that break it on purpose", "", *(f"* **{name}**: {text}" for name, text in broken), ""]
    lines += _places(clause.id)
    lines += ["## Neighbours", ""]
    number = ORDER.index(clause.id)
    lines += [f"* before: [{before}]({before}.md)" for before in ORDER[max(number - 1, 0) : number]]
    lines += [f"* after: [{after}]({after}.md)" for after in ORDER[number + 1 : number + 2]]
    return "\n".join(lines)


def _what_if(clause_id: str) -> list[str]:
    found = [
        f"* [{pair(state, deed)}](#{anchor(state, deed)})"
        for state in STATES
        for deed in DEEDS
        if any(each.clause == clause_id for each in answer(state, deed))
    ]
    return ["What leads there, step by step:", "", *found, ""] if found else []


def _verdicts(clause_id: str, published: Results) -> list[str]:
    verdicts = published.verdicts.get(clause_id, [])
    if not verdicts:
        return []
    lines = [
        "## Published verdicts",
        "",
        f"| {' | '.join(each.program for each in verdicts)} |",
        f"|{'---|' * len(verdicts)}",
        f"| {' | '.join(_meaning(each.sign, published) for each in verdicts)} |",
        "",
    ]
    failed = [each for each in published.deviations if clause_id in each.clauses]
    lines += [_deviation(each) for each in failed]
    return [*lines, "", f'<a href="../../conformance/matrix.html#{clause_id.lower()}">The clause in the matrix</a>', ""]


def _meaning(sign: str, published: Results) -> str:
    return f"{sign} ({published.signs.get(sign[:1], '')})"


def _deviation(deviation: Deviation) -> str:
    return (
        f"* {deviation.program} fails `{deviation.case}`. Expected: {deviation.expected}. "
        f"Seen: {deviation.actual}. {deviation.reason}"
    )


def _cases(clause: Clause) -> list[str]:
    if clause.area == OF_CLIENTS:
        tried = [f"* `{case.slug}`: {case.title}" for case in CLIENT_CASES if clause.id in case.clauses]
        command = "scache-conformance client --exec 'your-client {socket} {script} {timeout_s}'"
    else:
        tried = [
            f"* `{case.slug}` ({case.level.name}): {case.title}" for case in all_cases() if clause.id in case.clauses
        ]
        command = f"scache-conformance --exec 'your-server {{socket}}' --clause {clause.id}"
    return ["## Cases of the suite", "", *(tried or [NO_CASE]), "", "```text", command, "```", ""]


def _places(clause_id: str) -> list[str]:
    lines = ["## Where it stands in the code", ""]
    for name, found in places(clause_id).items():
        if found:
            lines += [f"{name[0].upper()}{name[1:]}:", ""]
            lines += [
                f"* `{place.path.relative_to(ROOT)}:{place.line}`: ``{place.text.replace('`', '')}``" for place in found
            ]
            lines += [""]
    return lines


def matrix(published: Results) -> str:
    """Return the matrix of clauses by servers and clients: each clause leads to its page, and its page leads here."""
    lines = ["# The matrix of verdicts", "", "Each clause leads to its page, which says what was seen.", ""]
    lines += [f"* {sign} {meaning}" for sign, meaning in published.signs.items()]
    lines += ["", "| program | cases | outcome |", "|---|---|---|"]
    lines += [f"| {name} | {cases} | {outcome} |" for name, (cases, outcome) in published.programs.items()]
    for area, name in AREAS.items():
        rows = {
            each: published.verdicts[each]
            for each in ORDER
            if CLAUSES[each].area == area and each in published.verdicts
        }
        if not rows:
            continue
        programs = [verdict.program for verdict in next(iter(rows.values()))]
        lines += [
            "",
            f"## {area}: {name}",
            "",
            f"| clause | {' | '.join(programs)} |",
            f"|{'---|' * (len(programs) + 1)}",
        ]
        for each, verdicts in rows.items():
            clause = f'<a id="{each.lower()}"></a>[{each}](../spec/clauses/{each}.md)'
            lines.append(f"| {clause} | {' | '.join(verdict.sign for verdict in verdicts)} |")
    return "\n".join(lines)

"""Traces: how many there are, what a file of them is, and that every server follows them."""

import io
import json
import re
from itertools import islice
from pathlib import Path

import pytest
from tests.conformance import plugged
from tests.conftest import SAMPLE, Volume

from scache_conformance.generated import oracle, traces
from scache_conformance.generated.steps import (
    Connect,
    Descriptor,
    End,
    FindEndp,
    Found,
    HangUp,
    Outcome,
    SaveEndp,
    Send,
    Tick,
    Trace,
    TraceStep,
    trace_from_json,
    trace_to_json,
)
from scache_conformance.servers.unavailable import Unavailable
from scache_spec.vocabulary import Limits

SPACE = traces.Space(states=527, transitions=7378)
"""A space that shrinks without anybody's noticing is how such a check goes blind."""

TRACES = 3 * SPACE.transitions


@pytest.fixture(scope="module")
def all_traces() -> list[Trace]:
    return list(traces.traces())


def test_space_is_as_large_as_it_was() -> None:
    assert traces.space() == SPACE


def test_each_transition_has_a_trace_for_every_second(all_traces: list[Trace]) -> None:
    assert len(all_traces) == TRACES
    assert len({trace.id for trace in all_traces}) == TRACES


def test_first_round_holds_every_transition_once(all_traces: list[Trace]) -> None:
    first_round = all_traces[: SPACE.transitions]
    for trace, (_, place) in zip(first_round, traces.transitions(), strict=True):
        assert trace.steps[: len(place.way)] == place.way


def test_every_trace_ends_with_an_empty_cache(all_traces: list[Trace]) -> None:
    for trace in islice(all_traces, 0, None, 97):
        server = oracle.start(Limits(ttl_limit_s=traces.TTL_LIMIT_S))
        for each in trace.steps:
            server, outcome = oracle.perform(server, each.step)
            assert outcome == each.outcome
        assert (server.cache.sessions, server.cache.bindings) == ((), ())


def test_a_trace_of_each_transition_but_ticks_needs_no_time(all_traces: list[Trace]) -> None:
    """Every state can be reached without waiting: a short ttl does what time would."""
    assert sum(not trace.needs_time for trace in all_traces) == SPACE.transitions - SPACE.states


def test_file_is_read_as_it_was_written(all_traces: list[Trace]) -> None:
    some = all_traces[::301]
    file = io.StringIO()
    assert traces.write(file, some, 2) == len(some)
    file.seek(0)
    read = traces.read(file)
    assert read.ttl_limit_s == 2
    assert list(read) == some


def test_every_kind_of_step_can_be_written() -> None:
    played = (
        TraceStep(Connect("A"), Outcome()),
        TraceStep(Send("A", b"\0\xff", (4, 5)), Outcome(received=(b"x\n", Descriptor(4), End()), closed=(5,))),
        TraceStep(HangUp("A"), Outcome(closed=(4,))),
        TraceStep(Tick(3), Outcome()),
    )
    trace = Trace(1, played)
    assert trace_from_json(json.loads(json.dumps(trace_to_json(trace)))) == trace


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "line 1: "),
        ("[]", "expected a JSON object"),
        ('{"format": "other", "version": 1, "ttl_limit_s": 2}', "expected format 'scache-traces'"),
        ('{"format": "scache-traces", "version": 2, "ttl_limit_s": 2}', "expected format 'scache-traces' version 1"),
        ('{"format": "scache-traces", "version": 1}', "'ttl_limit_s' is missing"),
    ],
)
def test_file_of_another_kind_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        traces.read([line])


@pytest.mark.parametrize("step", ['{"do": "dance"}', '{"do": "tick"}', '{"do": "tick", "seconds": "1"}', "7"])
def test_step_that_is_none_is_refused_with_its_line(step: str) -> None:
    head = '{"format": "scache-traces", "version": 1, "ttl_limit_s": 2}'
    with pytest.raises(ValueError, match="line 2: "):
        list(traces.read([head, f'{{"trace": 1, "needs_time": true, "steps": [{step}]}}']))


@pytest.mark.generated
@pytest.mark.parametrize("name", plugged.SERVERS)
def test_server_follows_the_traces(name: str, all_traces: list[Trace], tmp_path: Path, volume: Volume) -> None:
    some = all_traces[:: volume.every]
    with plugged.server(name, tmp_path) as target:
        replayed = traces.replay(target, some)
    print(f"{name}: {replayed}")
    assert replayed.divergences == (), str(replayed.divergences[0])
    assert replayed.replayed == len(some)
    assert replayed.skipped == 0


def test_without_a_clock_traces_that_need_time_are_skipped(all_traces: list[Trace], tmp_path: Path) -> None:
    some = all_traces[::113]
    with plugged.server("fast", tmp_path, real_time=True) as target:
        replayed = traces.replay(target, some)
    assert replayed.divergences == ()
    assert replayed.replayed == sum(not trace.needs_time for trace in some)
    assert replayed.replayed + replayed.skipped == len(some)
    assert "they need a virtual clock" in str(replayed)


def test_another_ttl_limit_is_refused(tmp_path: Path, all_traces: list[Trace]) -> None:
    with pytest.raises(Unavailable, match="ttl limit of 2 s, the server has 3"):
        traces.replay(plugged.server("fast", tmp_path, ttl_limit_s=3), all_traces[:1])


WRONG = [
    "newest-first",
    "session-ttl-uncapped",
    "binding-ttl-uncapped",
    "expires-a-second-early",
    "expires-a-second-late",
    "renewal-reorders",
    "renewal-only-extends",
    "destination-is-an-endpoint",
    "keeps-what-it-handed-out",
    "expired-descriptor-stays-open",
]


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_server_departs_from_the_traces(wrong: str, all_traces: list[Trace], tmp_path: Path) -> None:
    with plugged.wrong(wrong, tmp_path) as target:
        replayed = traces.replay(target, all_traces[:: SAMPLE.every], divergences_max=1)
    assert len(replayed.divergences) == 1
    assert replayed.divergences[0].transcript


def test_departure_says_what_was_expected_and_what_was_seen(tmp_path: Path) -> None:
    step = SaveEndp("A", 1, b"e", b"p", 1)
    played = (
        TraceStep(Connect("A"), Outcome()),
        TraceStep(step, Outcome(status=0)),
        *[TraceStep(Tick(2), Outcome(closed=()))] * 6,
    )
    with plugged.server("fast", tmp_path) as target:
        (divergence,) = traces.replay(target, [Trace(8, played)]).divergences
    # The server's closing thread closes it a moment later, perhaps in the next step.
    assert re.fullmatch(
        r"trace 8, step [3-8]: expected the descriptors of sessions \[1\] to stay open; got they are closed",
        str(divergence),
    )


def test_found_that_is_another_session_is_a_departure(tmp_path: Path) -> None:
    played = (
        TraceStep(Connect("A"), Outcome()),
        TraceStep(SaveEndp("A", 2, b"e", b"p", 1), Outcome(status=0)),
        TraceStep(SaveEndp("A", 2, b"e", b"p", 2), Outcome(status=0)),
        TraceStep(FindEndp("A", b"e"), Outcome(found=Found(2, (b"p",)))),
        TraceStep(Tick(2), Outcome(closed=(1,))),
    )
    with plugged.server("fast", tmp_path) as target:
        (divergence,) = traces.replay(target, [Trace(9, played)]).divergences
    assert (divergence.expected, divergence.actual) == ("the descriptor of session 2", "that of session 1")

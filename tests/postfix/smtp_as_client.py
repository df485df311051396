"""Postfix's smtp(8) held against the clauses for clients: `python -m tests.postfix.smtp_as_client RUN.json [GLOB]`.

A private Postfix delivers real messages to a real smtp-sink. Who listens at private/scache is the stage of the suite:
it says what smtp(8) must send next, and answers. The cases are those of `scache-conformance client` that a mail system
can be led into; their scripts do not apply, as smtp(8) chooses labels and properties itself. Besides what goes over the
wire, each message must arrive, over a connection that was used before where one was handed out, and of each descriptor
that passed smtp(8) keeps no copy.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeVar

from tests.postfix.private_postfix import PrivatePostfix
from tests.postfix.smtp_stage import PATIENCE_S, Mail, Parked, smtp_processes
from tests.support.commands import status_of
from tests.support.processes import ended

from scache_conformance.clients.cases import CASES, ClientCase
from scache_conformance.clients.command import judged, run_of
from scache_conformance.clients.stage import GREETING_LIST, Conversation, status
from scache_conformance.reports import run as runs
from scache_conformance.servers.postfix import scache_program, version_of
from scache_conformance.suite.verdicts import Result
from scache_conformance.wire import lists
from scache_conformance.wire.line import Line
from scache_conformance.wire.lists import DUMMY_LIST
from scache_conformance.wire.transcript import Transcript
from scache_conformance.wire.unmet import Unmet
from scache_spec.conversation import FindDest, FindEndp, SaveDest, SaveEndp

SETTINGS: Final = "connection_cache_protocol_timeout = 1s\n"

T = TypeVar("T")


# What a message brings about.


def asks(conversation: Conversation, kind: type[T]) -> T:
    """Insist on a request of this kind."""
    request = conversation.expects_request()
    if not isinstance(request, kind):
        raise Unmet(kind.__name__, str(request))
    return request


def finds_nothing(conversation: Conversation, number: int = 2, *, pieces: int = 0) -> None:
    """Have both finds find nothing."""
    asks(conversation, FindDest)
    conversation.sends(status(number, b"", b""), pieces=pieces)
    asks(conversation, FindEndp)
    conversation.sends(status(number, b""), pieces=pieces)


def parks(mail: Mail, conversation: Conversation, *, pieces: int = 0) -> Parked:
    """Have a binding and a connection saved."""
    binding = asks(conversation, SaveDest)
    conversation.sends(status(0), pieces=pieces)
    session = asks(conversation, SaveEndp)
    conversation.sends(DUMMY_LIST, pieces=pieces)
    fd = conversation.expects_descriptor()
    mail.passes(fd)
    conversation.insists_on_quiet("nothing after the descriptor before the status")
    conversation.sends(status(0), pieces=pieces)
    return Parked(fd, binding.properties, session.properties)


def first_message(mail: Mail, *, pieces: int = 0) -> tuple[Conversation, Parked]:
    """Have a message delivered over a new connection, and that parked."""
    mail.hand_in()
    conversation = mail.accept_greeted(pieces=pieces)
    finds_nothing(conversation, pieces=pieces)
    parked = parks(mail, conversation, pieces=pieces)
    mail.arrives(reused=False)
    return conversation, parked


def is_told_of(conversation: Conversation, parked: Parked, *, pieces: int = 0) -> None:
    """Have find_dest find a session, up to ready."""
    asks(conversation, FindDest)
    conversation.sends(status(0, parked.destination_properties, parked.endpoint_properties), pieces=pieces)
    conversation.expects_ready()


def asked_to_find(mail: Mail) -> Conversation:
    """Hand a message in, up to its find_dest."""
    mail.hand_in()
    conversation = mail.accept_greeted()
    asks(conversation, FindDest)
    return conversation


def nothing_found(mail: Mail) -> Conversation:
    """Hand a message in, for which nothing is found."""
    mail.hand_in()
    conversation = mail.accept_greeted()
    finds_nothing(conversation)
    return conversation


def asked_to_park(mail: Mail) -> Conversation:
    """Hand a message in, up to its save_endp."""
    conversation = nothing_found(mail)
    asks(conversation, SaveDest)
    conversation.sends(status(0))
    asks(conversation, SaveEndp)
    return conversation


def told(mail: Mail) -> tuple[Conversation, Parked]:
    """Have a message's connection parked, and a second message told of it, up to ready."""
    conversation, parked = first_message(mail)
    mail.hand_in()
    is_told_of(conversation, parked)
    return conversation, parked


def takes(conversation: Conversation, parked: Parked) -> None:
    """Hand out what was parked, whose only other copy is smtp(8)'s then."""
    conversation.sends(b"\0", [parked.fd])
    conversation.expects(DUMMY_LIST, "dummy=, received", alone=False)


# The cases.

Play = Callable[[Mail], None]
PLAYS: Final[dict[str, Play]] = {}


def play(name: str) -> Callable[[Play], Play]:
    """Register the decorated function as what a case of this name is here."""

    def register(function: Play) -> Play:
        PLAYS[f"client/{name}"] = function
        return function

    return register


@play("save-endp")
def save_endp(mail: Mail) -> None:
    """What is parked is closed here, but for the copy that was sent."""
    first_message(mail)


@play("save-dest")
def save_dest(mail: Mail) -> None:
    """The binding leads to the endpoint that is saved then."""
    conversation = nothing_found(mail)
    binding = asks(conversation, SaveDest)
    conversation.sends(status(0))
    session = asks(conversation, SaveEndp)
    if binding.endpoint != session.endpoint:
        raise Unmet("a binding to the endpoint of the session", f"{binding} and {session}")
    conversation.sends(status(1))
    mail.arrives(reused=False)


@play("find-dest")
def find_dest(mail: Mail) -> None:
    """A second message goes over the connection of the first."""
    conversation, parked = told(mail)
    takes(conversation, parked)
    mail.arrives(reused=True)


@play("find-endp")
def find_endp(mail: Mail) -> None:
    """find_dest finds nothing, find_endp the connection of the first message."""
    conversation, parked = first_message(mail)
    mail.hand_in()
    asks(conversation, FindDest)
    conversation.sends(status(2, b"", b""))
    asks(conversation, FindEndp)
    conversation.sends(status(0, parked.endpoint_properties))
    conversation.expects_ready()
    takes(conversation, parked)
    mail.arrives(reused=True)


@play("miss-then-hit")
def miss_then_hit(mail: Mail) -> None:
    """A second message finds nothing, a third one what the second parked, over one connection to the cache."""
    conversation, _ = first_message(mail)
    mail.hand_in()
    finds_nothing(conversation)
    parked = parks(mail, conversation)
    mail.arrives(reused=False)
    mail.hand_in()
    is_told_of(conversation, parked)
    takes(conversation, parked)
    mail.arrives(reused=True)


@play("one-byte-at-a-time")
def one_byte_at_a_time(mail: Mail) -> None:
    """Greeting and replies come byte by byte."""
    conversation, parked = first_message(mail, pieces=1)
    mail.hand_in()
    is_told_of(conversation, parked, pieces=1)
    takes(conversation, parked)
    mail.arrives(reused=True)


@play("late-replies")
def late_replies(mail: Mail) -> None:
    """The reply to find_dest comes late."""
    conversation, parked = first_message(mail)
    mail.hand_in()
    asks(conversation, FindDest)
    for _ in range(2):
        conversation.insists_on_quiet("nothing while the reply is awaited")
    conversation.sends(status(0, parked.destination_properties, parked.endpoint_properties))
    conversation.expects_ready()
    takes(conversation, parked)
    mail.arrives(reused=True)


@play("find-malformed")
def find_malformed(mail: Mail) -> None:
    """Finds are answered with status 1."""
    mail.hand_in()
    conversation = mail.accept_greeted()
    finds_nothing(conversation, 1)
    mail.arrives(reused=False)


@play("save-refused-at-once")
def save_refused_at_once(mail: Mail) -> None:
    """Status 1 in place of the invitation."""
    conversation = asked_to_park(mail)
    conversation.sends(status(1))
    conversation.insists_on_quiet("no descriptor after status 1")
    mail.arrives(reused=False)


@play("save-refused-afterwards")
def save_refused_afterwards(mail: Mail) -> None:
    """Status 2 after the descriptor: a second message goes over a new connection."""
    conversation = asked_to_park(mail)
    conversation.sends(DUMMY_LIST)
    mail.passes(conversation.expects_descriptor())
    conversation.sends(status(2))
    mail.arrives(reused=False)


@play("bind-refused")
def bind_refused(mail: Mail) -> None:
    """Status 2 of save_dest."""
    conversation = nothing_found(mail)
    asks(conversation, SaveDest)
    conversation.sends(status(2))
    mail.arrives(reused=False)


@play("wrong-greeting")
def wrong_greeting(mail: Mail) -> None:
    """Another greeting, as often as smtp(8) tries."""
    mail.hand_in()
    for conversation in mail.connections():
        conversation.sends(lists.encode((b"protocol", b"another_protocol")))
        conversation.expects_end()
    mail.arrives(reused=False)


@play("ends-before-greeting")
def ends_before_greeting(mail: Mail) -> None:
    """The cache closes the connection before it greets."""
    mail.hand_in()
    mail.accept().hangs_up()
    mail.arrives(reused=False)


@play("ends-after-request")
def ends_after_request(mail: Mail) -> None:
    """The cache closes the connection after the request."""
    conversation = asked_to_find(mail)
    conversation.hangs_up()
    mail.arrives(reused=False)


@play("ends-in-reply")
def ends_in_reply(mail: Mail) -> None:
    """The cache closes the connection in the middle of a reply."""
    conversation = asked_to_find(mail)
    conversation.sends(status(0, b"properties", b"properties")[:-3])
    conversation.hangs_up()
    mail.arrives(reused=False)


@play("ends-after-ready")
def ends_after_ready(mail: Mail) -> None:
    """The cache closes the connection in place of sending the descriptor."""
    conversation, _ = told(mail)
    conversation.hangs_up()
    mail.arrives(reused=False)


@play("ends-after-descriptor")
def ends_after_descriptor(mail: Mail) -> None:
    """The cache closes the connection right after it sent the descriptor."""
    conversation, parked = told(mail)
    conversation.sends(b"\0", [parked.fd])
    conversation.hangs_up()
    mail.arrives()


@play("ends-after-parked")
def ends_after_parked(mail: Mail) -> None:
    """The cache closes the connection after the descriptor was sent."""
    conversation = asked_to_park(mail)
    conversation.sends(DUMMY_LIST)
    mail.passes(conversation.expects_descriptor())
    conversation.hangs_up()
    for again in mail.further_connections():
        again.sends(GREETING_LIST)
        if isinstance(again.expects_request(), SaveEndp):
            again.sends(DUMMY_LIST)
            again.expects_end()


@play("silent-before-greeting")
def silent_before_greeting(mail: Mail) -> None:
    """The cache takes connections and never greets."""
    mail.hand_in()
    for conversation in mail.connections():
        conversation.expects_end()
    mail.arrives(reused=False)


@play("silent-after-request")
def silent_after_request(mail: Mail) -> None:
    """The cache never replies."""
    mail.hand_in()
    for conversation in mail.connections():
        conversation.sends(GREETING_LIST)
        asks(conversation, FindDest)
        conversation.expects_end()
    mail.arrives(reused=False)


@play("silent-before-descriptor")
def silent_before_descriptor(mail: Mail) -> None:
    """The cache says found and never sends the descriptor."""
    conversation, _ = told(mail)
    conversation.expects_end()
    mail.arrives(reused=False)


@play("no-descriptor")
def no_descriptor(mail: Mail) -> None:
    """The byte comes without a descriptor."""
    conversation, _ = told(mail)
    conversation.sends(b"\0")
    conversation.expects_end()
    mail.arrives(reused=False)


@play("two-descriptors")
def two_descriptors(mail: Mail) -> None:
    """Two descriptors come with the byte."""
    conversation, parked = told(mail)
    other = Line()
    try:
        mail.passes(other.far.fileno())
        conversation.sends(b"\0", [parked.fd, other.far.fileno()])
        conversation.expects_end()
    finally:
        other.close()
    mail.arrives(reused=False)


@play("not-a-socket")
def not_a_socket(mail: Mail) -> None:
    """A pipe is handed out."""
    conversation, _ = told(mail)
    reading, writing = os.pipe()
    try:
        mail.passes(writing)
        conversation.sends(b"\0", [writing])
        conversation.expects(DUMMY_LIST, "dummy=, received", alone=False)
    finally:
        os.close(reading)
        os.close(writing)
    mail.arrives(reused=False)


# Running them.


def hold(postfix: PrivatePostfix, case: ClientCase) -> Result:
    """Hold a new process of smtp(8) against one case."""
    # At a reload every child ends when it is at rest. One that is killed is taken for a bad start: master(8) then waits
    # a minute.
    os.kill(postfix.master_pid, signal.SIGHUP)
    for pid in smtp_processes(postfix):
        assert ended(pid, int(PATIENCE_S * 1000)), f"smtp(8), pid {pid}, does not end"

    def perform(transcript: Transcript) -> None:
        with ExitStack() as closing:
            mail = Mail(postfix, transcript, closing)
            PLAYS[case.slug](mail)
            mail.insist_on_no_copies()

    return judged(case, perform)


def cases(glob: str = "*") -> list[ClientCase]:
    """Return the cases that a mail system can be led into."""
    return [case for case in CASES if case.slug in PLAYS and fnmatchcase(case.slug, glob)]


def main(path: Path, glob: str = "*") -> None:
    """Write a run, as `scache-conformance client --json` does."""
    began_s, started = time.monotonic(), datetime.now().astimezone().isoformat(timespec="seconds")
    results = []
    with PrivatePostfix(None, settings=SETTINGS) as postfix:
        for case in cases(glob):
            results.append(hold(postfix, case))
            print(f"{results[-1].word:<5} {case.slug}  {results[-1].actual}", flush=True)
    plugged_in = f"tests.postfix.smtp_as_client (Postfix {version_of(scache_program())})"
    done = run_of("Postfix smtp(8)", plugged_in, results, started, time.monotonic() - began_s)
    path.write_text(runs.to_json(done), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(Path(sys.argv[1]), *sys.argv[2:])))

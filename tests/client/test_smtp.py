"""What becomes of SMTP sessions that are shared, with a server that does as it is told, and with aiosmtpd."""

import select
import smtplib
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import ClassVar

import pytest
from tests.support.processes import COMMAND, await_listener, running

from scache_client import Client
from scache_client.smtp import lease_smtp
from scache_client.testing import FakeCache

USUAL = {
    "greeting": "220 peer ESMTP",
    "EHLO": "250-peer\r\n250-SIZE 1000\r\n250 8BITMIME",
    "RSET": "250 flushed",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    ".": "250 queued",
    "QUIT": "221 bye",
}


class Peer(socketserver.ThreadingTCPServer):
    """Speaks SMTP by `replies`; a reply of "" closes the session. Keeps what was said in each session."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.replies = dict(USUAL)
        self.sessions: list[list[str]] = []
        self.speakers: list[BufferedIOBase] = []
        self.ended = threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), _Session)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def said(self, word: str) -> int:
        """Count a command over all sessions."""
        return sum(line.split()[0].upper() == word for session in self.sessions for line in session)


class _Session(socketserver.StreamRequestHandler):
    server: Peer
    timeout: ClassVar = 60

    def handle(self) -> None:
        try:
            self._converse()
        except ConnectionResetError:
            pass  # the client closed with our words unread
        finally:
            self.server.ended.release()

    def _converse(self) -> None:
        said: list[str] = []
        self.server.sessions.append(said)
        self.server.speakers.append(self.wfile)
        self._say(self.server.replies["greeting"])
        for line in self.rfile:
            said.append(line.decode().strip() or "(empty)")
            word = said[-1].split()[0].split(":")[0].upper()
            if not self._say(self.server.replies.get(word, "500 what?")):
                return
            if word == "DATA":
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                said.append(".")
                if not self._say(self.server.replies["."]):
                    return

    def _say(self, reply: str) -> bool:
        self.wfile.write(f"{reply}\r\n".encode() if reply else b"")
        return bool(reply)


@pytest.fixture
def peer(_no_descriptor_is_left: None) -> Iterator[Peer]:  # type: ignore[override, unused-ignore]
    with Peer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        for _ in server.sessions:
            assert server.ended.acquire(timeout=60), "a session is still open"


@pytest.fixture
def cache(peer: Peer) -> Iterator[FakeCache]:
    with FakeCache() as fake:
        yield fake


def send(cache: FakeCache, peer: Peer, text: str = "Subject: hello\r\n\r\n.\r\n") -> None:
    with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60, local_hostname="me.example") as smtp:
        smtp.sendmail("from@example.org", ["to@example.org"], text)


def test_session_is_greeted_once_and_reset_at_each_reuse(cache: FakeCache, peer: Peer) -> None:
    for _ in range(3):
        send(cache, peer)
    mail = ["mail from:<from@example.org> size=21", "rcpt to:<to@example.org>", "data", "."]
    said = [[line.lower() for line in session] for session in peer.sessions]  # smtplib of 3.13 writes small letters
    assert said == [["ehlo me.example", *mail, "rset", *mail, "rset", *mail]]


def test_features_travel_in_the_properties(cache: FakeCache, peer: Peer) -> None:
    send(cache, peer)
    assert cache.sessions == [
        (
            b"smtplib\n127.0.0.1\n%d\nme.example\n" % peer.port,
            b'{"esmtp": true, "features": {"size": "1000", "8bitmime": ""}}',
        )
    ]
    with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60, local_hostname="me.example") as smtp:
        assert smtp.has_extn("SIZE")
        assert smtp.esmtp_features == {"size": "1000", "8bitmime": ""}
    assert peer.said("EHLO") == 1


@pytest.mark.parametrize("properties", [b"", b"nonsense", b"[]", b'{"esmtp": 1, "features": {}}'])
def test_features_that_somebody_else_wrote_are_asked_again(cache: FakeCache, peer: Peer, properties: bytes) -> None:
    send(cache, peer)
    client = cache.client()
    label = cache.sessions[0][0]
    found = client.find_endp(label)
    assert found is not None
    client.save_endp(label, properties, 60, found.socket())
    with lease_smtp(client, "127.0.0.1", peer.port, ttl_s=60, local_hostname="me.example") as smtp:
        assert smtp.has_extn("SIZE")
    assert peer.said("EHLO") == 2
    assert len(peer.sessions) == 1


@pytest.mark.parametrize("reply", ["421 closing", "500 what?", ""])
def test_session_that_does_not_answer_rset_is_replaced(cache: FakeCache, peer: Peer, reply: str) -> None:
    send(cache, peer)
    peer.replies["RSET"] = reply
    send(cache, peer)
    assert peer.said("MAIL") == 2
    assert len(peer.sessions) == 2


def test_session_whose_server_spoke_meanwhile_is_replaced_unasked(cache: FakeCache, peer: Peer) -> None:
    peer.replies["."] = "250 queued\r\n421 4.4.2 idle for too long"
    send(cache, peer)
    assert cache.sessions == [], "what smtplib has read ahead is seen"
    send(cache, peer)
    assert peer.said("RSET") == 0
    assert len(peer.sessions) == 2


def test_session_whose_server_spoke_while_it_was_parked_is_replaced_unasked(cache: FakeCache, peer: Peer) -> None:
    with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60, local_hostname="me.example") as smtp:
        assert smtp.sock is not None
        copy = smtp.sock.dup()
    with copy:
        peer.speakers[0].write(b"421 4.4.2 idle for too long\r\n")
        assert select.select([copy], [], [], 60)[0], "it has arrived"
    send(cache, peer)
    assert peer.said("RSET") == 0
    assert len(peer.sessions) == 2


@pytest.mark.parametrize("word", ["MAIL", "RCPT", "DATA", "."])
def test_nothing_is_tried_again_after_mail(cache: FakeCache, peer: Peer, word: str) -> None:
    send(cache, peer)
    peer.replies[word] = ""
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(cache, peer)
    assert len(peer.sessions) == 1
    assert peer.said("MAIL") == 2
    assert cache.sessions == []


def test_refusal_that_the_block_catches_keeps_the_session(cache: FakeCache, peer: Peer) -> None:
    peer.replies["RCPT"] = "550 nobody"
    with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60) as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            smtp.sendmail("from@example.org", ["to@example.org"], "x")
        kept = smtp
    assert len(cache.sessions) == 1
    assert kept.sock is None, "it is not the block's any more"


def test_exception_in_the_block_closes_the_session(cache: FakeCache, peer: Peer) -> None:
    with pytest.raises(ZeroDivisionError), lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60) as smtp:
        raise ZeroDivisionError
    assert cache.sessions == []
    assert peer.ended.acquire(timeout=10), "also while the object of smtplib is still there"
    peer.ended.release()
    assert smtp.sock is None


def test_session_that_was_quit_is_not_parked(cache: FakeCache, peer: Peer) -> None:
    with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60) as smtp:
        smtp.quit()
    assert cache.sessions == []


def test_session_that_was_encrypted_is_closed_and_not_parked(cache: FakeCache, peer: Peer) -> None:
    """As starttls leaves it: wrapped, and the plain socket is an empty shell. No handshake is needed for that."""
    context = ssl.create_default_context()
    context.check_hostname = False
    with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60) as smtp:
        assert smtp.sock is not None
        wrapped = smtp.sock = context.wrap_socket(smtp.sock, do_handshake_on_connect=False)
    assert cache.sessions == []
    assert wrapped.fileno() == -1


def test_sessions_are_shared_by_equal_names_alone(cache: FakeCache, peer: Peer) -> None:
    for name in ("one.example", "two.example", "one.example"):
        with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60, local_hostname=name):
            pass
    assert [session[0] for session in peer.sessions] == ["ehlo one.example", "ehlo two.example"]


def test_reuses_are_limited(cache: FakeCache, peer: Peer) -> None:
    for _ in range(3):
        with lease_smtp(cache.client(), "127.0.0.1", peer.port, ttl_s=60, reuses_max=1):
            pass
    assert len(peer.sessions) == 2


def test_empty_host_is_a_value_error(cache: FakeCache) -> None:
    with pytest.raises(ValueError, match="host is ''; give the name"), lease_smtp(cache.client(), "", ttl_s=30):
        pass


def test_greeting_that_refuses_is_the_callers_error(cache: FakeCache, peer: Peer) -> None:
    peer.replies["greeting"] = "554 go away"
    with pytest.raises(smtplib.SMTPConnectError):
        send(cache, peer)


def test_sessions_move_between_clients_with_aiosmtpd_and_a_real_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        port: int = trial.getsockname()[1]
    command = [
        sys.executable,
        "-u",
        "-m",
        "aiosmtpd",
        "-n",
        "-l",
        f"127.0.0.1:{port}",
        "-c",
        "aiosmtpd.handlers.Debugging",
        "stdout",
    ]
    with (
        running("--listen", tmp_path / "s", "--ttl-limit", "1m", command=COMMAND),
        subprocess.Popen(command, stdout=subprocess.PIPE) as server,
    ):
        try:
            await_listener(server, ("127.0.0.1", port))
            own = set[int]()
            for number in range(3):
                with (
                    Client(tmp_path / "s") as client,
                    lease_smtp(client, "127.0.0.1", port, ttl_s=60) as smtp,
                ):
                    assert smtp.sock is not None
                    own.add(smtp.sock.getsockname()[1])
                    smtp.sendmail("from@example.org", ["to@example.org"], f"Subject: {number}\n\n")
            assert len(own) == 1, "one session, by its port"
        finally:
            server.terminate()
        printed, _ = server.communicate(timeout=60)
    assert [line for line in printed.decode().splitlines() if line.startswith("Subject")] == [
        f"Subject: {n}" for n in range(3)
    ]

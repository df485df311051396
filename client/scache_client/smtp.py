"""SMTP sessions shared by the processes of a machine: `lease_smtp`, an adapter for the standard library's smtplib.

A parked session is greeted and idle. What smtplib remembers of it (whether the server speaks ESMTP, and which
extensions) travels in the properties as JSON. Logging in and STARTTLS are not here: a session that is logged in belongs
to one user, and one that is encrypted cannot be parked.

Sources: RFC 5321, 4.1.1.5 (RSET) and 4.5.3.2 (timeouts); smtp(8), which checks a reused session the same way.
"""

import json
import smtplib
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Final

from scache_client.client import Client
from scache_client.lease import is_quiet, lease

__all__ = ["lease_smtp"]

TIMEOUT_S: Final = 300.0
"""How long to wait for each reply. RFC 5321: 5 minutes for the greeting, MAIL and RCPT."""

_OK: Final = 250


@contextmanager
def lease_smtp(
    client: Client,
    host: str,
    port: int = smtplib.SMTP_PORT,
    *,
    ttl_s: int,
    local_hostname: str | None = None,
    timeout_s: float = TIMEOUT_S,
    reuses_max: int | None = None,
    age_s_max: int | None = None,
) -> Iterator[smtplib.SMTP]:
    """Lend an SMTP session that has been greeted, and park it at a clean exit.

    A session taken up is used only if its server has said nothing since and answers RSET with 250; else it is closed,
    and the next one or a new one is used. That is before MAIL, where trying again is safe. Nothing is tried again
    later: after MAIL, the server may have the message, and every error of smtplib reaches the caller.

    After an exception in the block the session is closed. So catch a refusal inside of the block if the session is to
    be kept. A session on which the block called `quit` or `starttls` is not parked.

    Sessions are shared by all who name the same host, port and `local_hostname`. OSError and SMTPException if no
    session can be opened.

    >>> from scache_client.testing import FakeCache
    >>> with FakeCache() as cache, lease_smtp(cache.client(), "127.0.0.1", 1, ttl_s=30) as smtp:
    ...     smtp.sendmail("from@example.org", ["to@example.org"], "Subject: hello")
    Traceback (most recent call last):
    ...
    ConnectionRefusedError: [Errno 111] Connection refused
    """
    if not host:
        raise ValueError(f"host is {host!r}; give the name or the address of a mail server")
    name = local_hostname or _own_name()
    label = f"smtplib\n{host}\n{port}\n{name}\n".encode()
    session = _Session(name, timeout_s)

    with lease(
        client,
        label,
        connect=lambda: session.open(host, port),
        ttl_s=ttl_s,
        usable=session.resume,
        reuses_max=reuses_max,
        age_s_max=age_s_max,
    ) as leased:
        if leased.reused:
            session.recall(leased.properties)
        leased.properties = session.remembered()
        with ExitStack() as unwinding:
            unwinding.callback(session.smtp.close)
            yield session.smtp
            unwinding.pop_all()
        session.let_go(leased.connection)


class _Session:
    """The object of smtplib round the connection that is being tried or used."""

    def __init__(self, local_hostname: str, timeout_s: float) -> None:
        self._name = local_hostname
        self._timeout_s = timeout_s
        self.smtp = smtplib.SMTP(local_hostname=local_hostname, timeout=timeout_s)

    def open(self, host: str, port: int) -> socket.socket:
        self.smtp = smtplib.SMTP(host, port, local_hostname=self._name, timeout=self._timeout_s)
        with ExitStack() as unwinding:
            unwinding.callback(self.smtp.close)
            self.smtp.ehlo_or_helo_if_needed()
            unwinding.pop_all()
        connection = self.smtp.sock
        assert connection is not None  # it was greeted
        return connection

    def resume(self, connection: socket.socket) -> bool:
        """Say whether the session answers, with nothing said before."""
        if not is_quiet(connection):
            return False
        connection.settimeout(self._timeout_s)
        self.smtp = smtplib.SMTP(local_hostname=self._name, timeout=self._timeout_s)
        self.smtp.sock = connection
        try:
            answers = self.smtp.rset()[0] == _OK
        except OSError:  # of the connection, or smtplib's of what came
            answers = False
        if not answers:
            self.smtp.close()
        return answers

    def remembered(self) -> bytes:
        """Write what smtplib knows of the server; JSON escapes the NUL that no property may hold."""
        known = {"esmtp": self.smtp.does_esmtp, "features": self.smtp.esmtp_features}
        return json.dumps(known).encode()

    def recall(self, properties: bytes) -> None:
        """Tell smtplib what is known of the server; ask again if somebody else wrote the properties."""
        try:
            known: object = json.loads(properties)
        except ValueError:
            known = None
        match known:
            case {"esmtp": bool(esmtp), "features": dict(features)}:
                self.smtp.does_esmtp = esmtp
                self.smtp.esmtp_features = {str(name): str(value) for name, value in features.items()}
                # Their presence is how smtplib knows that EHLO or HELO was said; nobody reads the text.
                self.smtp.ehlo_resp = self.smtp.helo_resp = b""
            case _:
                self.smtp.ehlo_or_helo_if_needed()

    def let_go(self, connection: socket.socket) -> None:
        """Take smtplib off the connection, and close what is not a session at rest."""
        if self.smtp.sock is not connection:  # closed by quit, or wrapped by starttls
            self.smtp.close()
            connection.close()
            return
        reader = self.smtp.file
        if reader is not None:
            connection.setblocking(False)
            is_at_rest = not reader.peek(1)
            connection.setblocking(True)
            reader.close()  # a socket is closed only when its readers are
            self.smtp.file = None
            if not is_at_rest:
                connection.close()
        self.smtp.sock = None


@cache
def _own_name() -> str:
    # smtplib asks the resolver at each new session.
    return smtplib.SMTP().local_hostname

"""A client of the admin socket, for scachectl and for programs: blocking, with a timeout.

    with AdminClient("/run/scached/admin.sock") as admin:
        print(admin.ask("stats")["now"])
        for row in admin.rows("list", what="endpoints", glob="smtp*"):
            ...

Nothing of the server is imported here.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Self

from scache_fast.admin.protocol import RequestError, decode, encode

TIMEOUT_S: Final = 5.0
"""How long a client waits for each line of an answer. Arbitrary; a server answers within milliseconds."""

_LINE_BYTES_MAX: Final = 16_777_216
"""Longest line that is taken. Arbitrary: labels and properties of one row have 130 000 bytes at most by default."""

_ANSWER_BYTES_MAX: Final = 536_870_912
"""Longest answer of many lines. Arbitrary: a list of all that the default limits allow has 430 MB at most."""

_READ_BYTES: Final = 65_536


class AdminError(Exception):
    """The server refused a request; the text is its reason."""


class AdminUnavailableError(Exception):
    """There is no server, it does not answer in time, or what it says is not this protocol."""


class AdminTimeoutError(AdminUnavailableError):
    """The server does not answer in time."""


class AdminClient:
    """One connection to the admin socket of a server; raises AdminUnavailableError from every method."""

    def __init__(self, path: str, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._last_id = 0
        self._read = bytearray()
        self._bytes_left = 0
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(timeout_s)
        try:
            self._sock.connect(path)
        except OSError as error:
            self._sock.close()
            # Python has a text and no number for a path that is too long, and for its own timeout.
            raise _unavailable(f"cannot connect to {path!r}", error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def fileno(self) -> int:
        """Return the descriptor of the connection."""
        return self._sock.fileno()

    def ask(self, verb: str, **parameters: object) -> dict[str, object]:
        """Return the last line of an answer, and no rows; raises AdminError when the server refuses.

        The whole answer has to come within the timeout.
        """
        for line in self._lines(verb, parameters, time.monotonic() + self._timeout_s):
            if "row" not in line:
                return line
        raise AdminUnavailableError(f"{self._path!r}: the answer has no end")

    def rows(self, verb: str, **parameters: object) -> Iterator[dict[str, object]]:
        """Yield the rows of an answer; raises AdminError when the server refuses."""
        for line in self.lines(verb, **parameters):
            row = line.get("row")
            if isinstance(row, dict):
                yield row

    def lines(self, verb: str, **parameters: object) -> Iterator[dict[str, object]]:
        """Yield the lines of an answer, the last one included; raises AdminError when the server refuses."""
        yield from self._lines(verb, parameters, None)

    def _lines(
        self, verb: str, parameters: Mapping[str, object], deadline_s: float | None
    ) -> Iterator[dict[str, object]]:
        """Yield the lines of an answer; with a deadline, all of them have to come before it."""
        self._last_id += 1
        self._send(encode({"id": self._last_id, "verb": verb, **parameters}))
        self._bytes_left = _ANSWER_BYTES_MAX
        while True:
            line_deadline_s = time.monotonic() + self._timeout_s if deadline_s is None else deadline_s
            line = self._line(line_deadline_s)
            while line.get("id") not in (self._last_id, None):
                line = self._line(line_deadline_s)  # The rest of an answer that its reader gave up.
            if line.get("ok") is False:
                raise AdminError(str(line.get("error")))
            yield line
            if "ok" in line:
                return

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise _unavailable(f"{self._path!r}: cannot send", error) from None

    def _line(self, deadline_s: float) -> dict[str, object]:
        scanned = 0
        if time.monotonic() > deadline_s:
            raise AdminTimeoutError(f"{self._path!r}: the answer has no end within {self._timeout_s} s")
        while (end := self._read.find(b"\n", scanned)) < 0:
            scanned = len(self._read)
            if scanned > _LINE_BYTES_MAX:
                raise AdminUnavailableError(f"{self._path!r}: a line has more than {_LINE_BYTES_MAX} bytes")
            if time.monotonic() > deadline_s:
                raise AdminTimeoutError(f"{self._path!r}: no line within {self._timeout_s} s")
            try:
                data = self._sock.recv(_READ_BYTES)
            except OSError as error:
                raise _unavailable(f"{self._path!r}: cannot read", error) from None
            if not data:
                raise AdminUnavailableError(f"{self._path!r}: the server closed the connection")
            self._read += data
        self._bytes_left -= end
        if self._bytes_left < 0:
            raise AdminUnavailableError(f"{self._path!r}: the answer has more than {_ANSWER_BYTES_MAX} bytes")
        line = self._read[:end]
        del self._read[: end + 1]
        try:
            return dict(decode(line))
        except RequestError as error:
            raise AdminUnavailableError(f"{self._path!r}: a line that cannot be read: {error}") from None


def _unavailable(what: str, error: OSError) -> AdminUnavailableError:
    # A server that accepts nobody for a while has a full queue, which a socket with a timeout learns as EAGAIN.
    kind = AdminTimeoutError if isinstance(error, TimeoutError | BlockingIOError) else AdminUnavailableError
    return kind(f"{what}: {error.strerror or error}")

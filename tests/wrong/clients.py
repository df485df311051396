"""Clients that are wrong on purpose: `python -m tests.wrong.clients SLIP SOCKET SCRIPT TIMEOUT_S`; `right` has no slip.

One plain client, written for this; each slip changes one thing that a programmer may get wrong.
"""

import array
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

GREETING = b"protocol\0connection_cache_protocol\0\0"
DUMMY = b"dummy\0\0\0"


@dataclass(frozen=True, slots=True)
class Slip:
    """What is wrong, and the clauses that it breaks."""

    what: str
    clauses: tuple[str, ...]


SLIPS = {
    "sends-before-greeting": Slip("The request is sent before the greeting has come.", ("CLNT-1",)),
    "takes-any-greeting": Slip("The greeting is not looked at.", ("CLNT-1",)),
    "attributes-out-of-order": Slip("The label comes before the ttl.", ("CLNT-2",)),
    "no-properties": Slip("save_endp has no property.", ("CLNT-2",)),
    "labels-end-with-newline": Slip("A newline is added to each label.", ("CLNT-2",)),
    "two-requests-ahead": Slip("The request is sent twice before the reply.", ("CLNT-2",)),
    "no-end-of-list": Slip("The NUL that ends a request is missing.", ("CLNT-2",)),
    "descriptor-before-invitation": Slip("The descriptor is sent with the request.", ("CLNT-3",)),
    "two-descriptors": Slip("The descriptor is sent twice with one byte.", ("CLNT-3",)),
    "no-descriptor": Slip("The byte is sent without a descriptor.", ("CLNT-3",)),
    "two-bytes-with-descriptor": Slip("Two bytes are sent with the descriptor.", ("CLNT-3",)),
    "saved-without-status": Slip("The status of save_endp is not looked at.", ("CLNT-3", "CLNT-4")),
    "descriptor-after-refusal": Slip("The descriptor is sent whatever the first reply is.", ("CLNT-4",)),
    "ready-after-refusal": Slip("Ready is said whatever the status of a find is.", ("CLNT-4",)),
    "ready-ahead": Slip("Ready is said with the request.", ("CLNT-2",)),
    "no-ready": Slip("Ready is never said.", ("CLNT-5",)),
    "no-received": Slip("Received is never said.", ("CLNT-5",)),
    "one-read-is-a-reply": Slip("What one read gives is taken for the whole reply.", ("CLNT-6",)),
    "first-of-several": Slip("Of two descriptors the first is used, the other kept.", ("CLNT-7",)),
    "found-without-descriptor": Slip("A find that brings no descriptor counts as found.", ("CLNT-7",)),
    "waits-for-ever": Slip("There is no timeout.", ("CLNT-8",)),
    "dies-with-its-server": Slip("The end of the connection ends the client.", ("CLNT-8",)),
    "parks-again": Slip("save_endp is repeated after the descriptor was sent.", ("CLNT-8",)),
    "keeps-what-it-parked": Slip("The copy of what was parked stays open.", ("CLNT-9",)),
    "keeps-broken-connections": Slip("The connection to a server that failed stays open.", ("CLNT-9",)),
    "takes-everything-for-a-socket": Slip("What is no socket ends the client.", ("CLNT-10",)),
}

kept: list[object] = []


class Failed(Exception):  # noqa: N818 - what happened to a request
    """A request was not carried out."""


class Client:
    """The client."""

    def __init__(self, slip: str, path: str, timeout_s: float) -> None:
        self.slip, self.path, self.timeout_s = slip, path, timeout_s
        self.server: socket.socket | None = None

    def connected(self, request: bytes = b"") -> socket.socket:
        if self.server is None:
            self.server = socket.socket(socket.AF_UNIX)
            self.server.settimeout(None if self.slip == "waits-for-ever" else self.timeout_s)
            self.server.connect(self.path)
            if self.slip == "sends-before-greeting":
                self.server.sendall(request)
            if self.read_list() != GREETING and self.slip != "takes-any-greeting":
                raise Failed
        return self.server

    def close(self) -> None:
        if self.server is not None:
            if self.slip == "keeps-broken-connections":
                kept.append(self.server)
            else:
                self.server.close()
            self.server = None

    def read_list(self) -> bytes:
        assert self.server is not None
        data = b""
        while True:
            more = self.server.recv(1 if self.slip != "one-read-is-a-reply" else 65536)
            if not more:
                raise Failed
            data += more
            fields = data.split(b"\0")
            if self.slip == "one-read-is-a-reply" or (len(fields) % 2 == 0 and fields[-2:] == [b"", b""]):
                return data

    def request(self, *fields: str) -> bytes:
        if self.slip == "labels-end-with-newline":
            fields = tuple(
                f"{field}\n" if before == "label" else field
                for before, field in zip(("", *fields), fields, strict=False)
            )
        data = b"".join(field.encode() + b"\0" for field in fields) + b"\0"
        if self.slip == "no-end-of-list":
            data = data[:-1]
        if self.slip == "ready-ahead" and fields[1].startswith("find"):
            data += DUMMY
        server = self.connected(data)
        if self.slip != "sends-before-greeting":
            server.sendall(data * (2 if self.slip == "two-requests-ahead" else 1))
        return b""

    def save_endp(self, endpoint: str, properties: str, ttl_s: str, parked: socket.socket) -> None:
        fields = ["request", "save_endp", "ttl", ttl_s, "label", endpoint, "property", properties]
        if self.slip == "attributes-out-of-order":
            fields[2:6] = [*fields[4:6], *fields[2:4]]
        if self.slip == "no-properties":
            del fields[6:]
        self.request(*fields)
        assert self.server is not None
        count = {"two-descriptors": 2, "no-descriptor": 0}.get(self.slip, 1)
        fds = array.array("i", [parked.fileno()] * count)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds.tobytes())] if count else []
        byte = b"\0\0" if self.slip == "two-bytes-with-descriptor" else b"\0"
        if self.slip == "descriptor-before-invitation":
            self.server.sendmsg([byte], rights)
        if self.read_list() != DUMMY and self.slip != "descriptor-after-refusal":
            raise Failed
        if self.slip != "descriptor-before-invitation":
            self.server.sendmsg([byte], rights)
        if self.slip == "saved-without-status":
            return
        if self.read_list() != b"status\0000\0\0":
            raise Failed

    def find(self, *fields: str) -> int | None:
        self.request("request", *fields)
        assert self.server is not None
        reply = self.read_list()
        if not reply.startswith(b"status\0000\0") and self.slip != "ready-after-refusal":
            if reply.startswith(b"status\0002\0"):
                return None
            raise Failed
        if self.slip not in ("no-ready", "ready-ahead"):
            self.server.sendall(DUMMY)
        data, control, _, _ = self.server.recvmsg(1, 1000)
        fds = array.array("i")
        for _, _, rights in control:
            fds.frombytes(rights)
        if not data or (len(fds) != 1 and not (fds and self.slip == "first-of-several")):
            if self.slip == "found-without-descriptor" and data and not fds:
                return -1
            for fd in fds:
                os.close(fd)
            raise Failed
        if self.slip != "no-received":
            try:
                self.server.sendall(DUMMY)
            except OSError:
                self.close()  # the descriptor is here
        return fds[0]

    def use(self, fd: int | None) -> str:
        if fd is None:
            return "nothing"
        if fd >= 0:
            try:
                if self.slip == "takes-everything-for-a-socket":
                    socket.socket(fileno=os.dup(fd)).close()
                os.write(fd, b"!")
            finally:
                os.close(fd)
        return "found"

    def carry_out(self, verb: str, *words: str) -> str:
        match verb, words:
            case "pause", []:
                print("paused", flush=True)
                sys.stdin.readline()
                return ""
            case "close", []:
                self.close()
                return "closed"
            case "save_endp", [endpoint, properties, ttl_s, path]:
                parked = socket.socket(socket.AF_UNIX)
                parked.connect(path)
                try:
                    try:
                        self.save_endp(endpoint, properties, ttl_s, parked)
                    except Failed:
                        if self.slip != "parks-again":
                            raise
                        self.close()
                        self.save_endp(endpoint, properties, ttl_s, parked)
                finally:
                    if self.slip == "keeps-what-it-parked":
                        kept.append(parked)
                    else:
                        parked.close()
                return "saved"
            case "save_dest", [destination, properties, endpoint, ttl_s]:
                rest = ("label", destination, "property", properties, "label", endpoint)
                self.request("request", "save_dest", "ttl", ttl_s, *rest)
                if self.read_list() != b"status\0000\0\0":
                    raise Failed
                return "saved"
            case "find_endp" | "find_dest", [label]:
                return self.use(self.find(verb, "label", label))
            case _:
                raise ValueError(verb)


def main(slip: str, path: str, script: str, timeout_s: str) -> None:
    """Carry out a script."""
    client = Client(slip, path, float(timeout_s))
    for line in Path(script).read_text(encoding="ascii").splitlines():
        try:
            said = client.carry_out(*line.split(" "))
        except (Failed, OSError) as failure:
            if slip == "dies-with-its-server" or (slip == "takes-everything-for-a-socket" and failure.args):
                raise
            client.close()
            said = "failed"
        if said:
            print(said, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A peer to try things with: it numbers its connections and the lines on each, and sends every line back.

When a connection moves from one process to another, its connection number stays the same and its line numbers go on:
to this end of the connection, nothing happens when it is parked.
"""

import itertools
import socketserver


class Echo(socketserver.ThreadingTCPServer):
    """Listen on a loopback address; ask `server_address` for the port that port 0 became."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        self.numbers = itertools.count(1)
        super().__init__(address, _Conversation)


class _Conversation(socketserver.StreamRequestHandler):
    server: Echo

    def handle(self) -> None:
        number = next(self.server.numbers)
        print(f"connection {number} opened", flush=True)
        try:
            for count, line in enumerate(self.rfile, start=1):
                self.wfile.write(b"connection %d, line %d: %b" % (number, count, line))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the last owner left without reading our answer
        print(f"connection {number} closed", flush=True)

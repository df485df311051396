"""Starting processes beside threads that close connections.

Until a new process executes its program, it has a copy of every descriptor of this process. A connection that is closed
in that time stays open, for tens of milliseconds on a busy machine, and the server at its other end sees no hangup. For
that reason no connection is closed while a process starts.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from typing import Final

STARTING: Final = threading.Lock()
"""Held while a process starts: `subprocess.Popen` returns when the program is executed and the copies are closed."""


def close(*connections: socket.socket) -> None:
    """Close connections so that their other ends notice at once."""
    with STARTING:
        for each in connections:
            each.close()


def close_number(descriptor: int) -> None:
    """Close a descriptor that a server has, too, so that from now on the last copy is the server's."""
    with STARTING:
        os.close(descriptor)


def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command, and return what it says and its status. Raises OSError."""
    with STARTING:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def end(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """End a process: by SIGTERM, and by force if that takes longer."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""Starting processes beside threads that close connections.

Until a new process executes its program, it has a copy of every descriptor of this process. A connection that is closed
in that time stays open, for tens of milliseconds on a busy machine, and the server at its other end sees no hangup. For
that reason no connection is closed while a process starts.
"""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
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


_MARK: Final = "SCACHE_CONFORMANCE_FOLDER"
"""The variable that tells which processes a command has started, also those that have left its session (daemons)."""


def marked(folder: str) -> dict[str, str]:
    """Return the environment for a command, with the mark of the folder that was made for it."""
    return {**os.environ, _MARK: folder}


def end_marked(folder: str) -> None:
    """Kill every process that has the mark of a folder."""
    mark = os.fsencode(f"{_MARK}={folder}")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            process = os.pidfd_open(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        except OSError:
            pass  # it has ended meanwhile, or belongs to another user
        finally:
            os.close(process)


def end_group(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """End a process that leads a session: by SIGTERM, and by force if that takes longer; and all that it left there."""
    end(process, patience_s)
    try:
        os.killpg(process.pid, signal.SIGKILL)  # what a shell left behind
    except (ProcessLookupError, PermissionError):
        pass  # nothing, or nothing that is ours any more


def end(process: "subprocess.Popen[bytes]", patience_s: float) -> None:
    """End a process: by SIGTERM, and by force if that takes longer."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

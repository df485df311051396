"""A program in the place of scached that says how it was started, to be compared with a recording.

The recording is of Debian's master(8) 3.7.11. `python -m tests.postfix.recorder` makes it anew.
"""

import json
import os
import select
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.postfix.private_postfix import PrivatePostfix, service_command
from tests.support.client import PATIENCE_S
from tests.support.commands import status_of
from tests.support.processes import process_status

RECORDING: Final = Path(__file__).parents[1] / "data/master-child.json"

SETTINGS: Final = {"maillog_file": "", "syslog": "maillog_file =\nsyslog_name = other\n"}
"""Lines of main.cf, by the name of what is recorded with them: where the log goes is in the environment."""

_PROGRAM: Final = """\
#!{interpreter} -I
import fcntl, json, os, resource, signal, socket, stat, sys

def descriptor(fd):
    kind = stat.filemode(os.fstat(fd).st_mode)[0]
    flags = {{
        "nonblocking": fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK,
        "close-on-exec": fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC,
    }}
    words = [kind, *(name for name, is_set in flags.items() if is_set)]
    if kind == "s":
        sock = socket.socket(fileno=fd)
        words += [sock.family.name, sock.type.name]
        words += ["listening"] if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) else []
        sock.detach()
    return " ".join(words)

numbers = sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd))
lines = open("/proc/self/status").read().splitlines()
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
found = {{
    "arguments": sys.argv[1:],
    # Python itself adds LC_CTYPE in the C locale.
    "environment": {{name: value for name, value in os.environ.items() if name != "LC_CTYPE"}},
    # 1 and 2 are /dev/null, or with `postfix start-fg` a pipe to its caller.
    "descriptors": {{fd: descriptor(fd) for fd in numbers if fd not in (1, 2)}},
    "folder": os.getcwd(),
    "umask": oct(os.umask(0)),
    "uid": os.getuid(),
    "blocked signals": next(int(line.split()[1], 16) for line in lines if line.startswith("SigBlk")),
    # What whoever started all this ignores, a shell or make, is ignored by every process below it; and the two signals
    # that the C library keeps for itself by whatever posix_spawn() started.
    "ignored signals": next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn")) & ~{ignored}
    & sum(1 << number - 1 for number in signal.valid_signals()),
    "descriptor limits are equal": soft == hard,
}}
with open({pipe!r}, "w") as file:
    json.dump(found, file)
"""


def record(folder: Path, start: Callable[[Path], Path]) -> dict[str, object]:
    """Return how the program is started. `start` has it started, and returns the folder of that Postfix."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    program = folder / "scached"
    program.write_text(
        _PROGRAM.format(
            interpreter=sys.executable, pipe=str(pipe), ignored=int(process_status(os.getpid(), "SigIgn"), 16)
        )
    )
    program.chmod(0o755)
    try:
        of_this = str(start(program))
        assert select.select([reader], [], [], PATIENCE_S)[0], "the program was not started"
        os.set_blocking(reader, True)
        with open(reader, encoding="utf-8", closefd=False) as file:
            text = file.read()
    finally:
        os.close(reader)
    found: dict[str, object] = json.loads(text.replace(of_this, "FOLDER"))
    environment = found["environment"]
    assert isinstance(environment, dict)
    assert environment["GENERATION"].isdigit()
    environment["GENERATION"] = "digits"
    return found


def record_master(folder: Path, settings: str) -> dict[str, object]:
    """Return how a real master(8) starts a child. Raises Unavailable where there is no Postfix."""
    (folder / "real").mkdir()
    program = folder / "real" / "scached"
    with PrivatePostfix(service_command(program), settings=settings) as postfix:

        def start(written: Path) -> Path:
            assert written == program
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(postfix.socket_path))
            return postfix.socket_path.parents[2]

        return record(folder / "real", start)


def main() -> None:
    """Write the recording."""
    recorded = {}
    for name, settings in SETTINGS.items():
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            Path(folder).chmod(0o755)
            recorded[name] = record_master(Path(folder), settings)
    RECORDING.write_text(json.dumps(recorded, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(status_of(main))

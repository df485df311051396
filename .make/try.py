"""What `make run` does: a server and a peer to try it with, from the sources as they are.

    python3 .make/try.py SOCKET

Nothing is installed and nothing is fetched. What to type in another terminal is said before, in lines that sh, bash,
zsh and fish take alike, also when all of them are pasted at once.
"""

import os
import shlex
import socket
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("spec", "fast", "client", "ctl")]

from scache_ctl.echo import Echo  # noqa: E402 - the folders come first
from scache_fast import __main__ as scached  # noqa: E402

PATH_BYTES_MAX = 107
"""The longest path of a UNIX socket: sun_path has 108 bytes, and a NUL ends it."""

TEXT = """\
Starting scached on {path}
It keeps open connections for other processes. Leave it running. Open a second terminal in this folder, and type:

    {client} park demo 127.0.0.1:{port}
    {client} find-endp --send hello --again 60 demo
    {client} find-endp --send 'hello again' demo

The first command opens a connection to a small server in this terminal, and parks it. The second command is another
process: it finds the connection, uses it, and parks it again. The third command uses it once more: it is still the same
connection ("connection 1, line 2").

More: {client} list shows what is parked, {client} top is a live view, {client} --help lists all commands.

Press Ctrl-C here to stop it.
"""

CLIENT = """\
#!/bin/sh
# scachectl, for the server that `make run` started last.
SCACHE_SOCKET={socket} SCACHED_ADMIN={admin} PYTHONPATH={path} exec {python} -m scache_ctl "$@"
"""


def main(path: Path) -> int:
    """Run the server until it is told to end; return its exit status."""
    client, admin = Path(".run/scachectl"), path.with_name(f"{path.name}.admin")
    if _is_served(path):
        return _fail(f"another server listens on {path}: end it, or choose another path: make run SOCKET=PATH")
    if len(os.fsencode(admin.absolute())) > PATH_BYTES_MAX:
        return _fail(f"{admin.absolute()} is too long for a socket: make run SOCKET=/tmp/scached.sock")
    values = {
        "socket": path.absolute(),
        "admin": admin.absolute(),
        "path": ":".join(f"{ROOT}/{folder}" for folder in ("ctl", "client", "fast", "spec")),
        "python": sys.executable,
    }
    try:
        for each in (client, path):
            each.parent.mkdir(parents=True, exist_ok=True)
        client.write_text(CLIENT.format_map({name: shlex.quote(str(value)) for name, value in values.items()}))
        client.chmod(0o755)
    except OSError as error:
        return _fail(
            f"cannot write {error.filename}: {error.strerror}; copy this folder to where you may write, "
            "or name another path: make run SOCKET=PATH"
        )
    peer = Echo(("127.0.0.1", 0))
    threading.Thread(target=peer.serve_forever, daemon=True).start()
    print(TEXT.format(path=path, client=client, port=peer.server_address[1]), flush=True)
    return scached.main(["--listen", str(path), "--admin", str(admin), "--ttl-limit", "10m", "-v"])


def _fail(what: str) -> int:
    print(f"make run: {what}", file=sys.stderr)
    return 1


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(path))
        except OSError:
            return False  # what keeps the server from listening there is the server's to say
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""The version of the specification, and which clauses each version changed.

A clause is listed when what it demands of a server or a client changed. Its words may change without that.
"""

from typing import Final

VERSION: Final = "0.2.0"
"""The version of this text. It is that of the project."""

CHANGES: Final[dict[str, dict[str, str]]] = {
    "0.2.0, since the drafts called 0.1.0": {
        "CONN-5, FD-4, FD-8": "tagged BEYOND: a Postfix server does otherwise",
        "CONN-10": "a held session does not expire",
        "CONN-11": "finished requests of a client that went away are served; a client may shut down sending alone",
        "FD-1": "control data of another kind is ignored; says what an urgent byte may be",
        "FD-10": "ETOOMANYREFS counts as a failure to send; the client is disconnected",
        "FD-13": "options stay as they are too; a farewell is the one exception",
        "FD-14": "new",
        "FD-15": "new",
        "ENDP-3": "the oldest is the one that was saved first; a session that was put back comes before it",
        "TTL-2": "the clock counts the time for which the machine is suspended",
        "TTL-5": "counts for each request, not for each turn of a loop; what is due takes no room",
        "TTL-6": "what is due is removed even if no client sends anything",
        "TTL-7": "new",
        "STAT-4": "a refused save takes no peak, a renewal does",
        "STAT-5": "the first line is in local time",
        "LIFE-4": "a server that is asked to exit does so with status 0",
        "LIFE-5 to LIFE-13": "new",
        "LIMIT-1 to LIMIT-6": "lower default values",
        "LIMIT-5": "says how long a client counts",
        "LIMIT-6": "the server may stop serving sooner",
        "LIMIT-7": "what has come is read before a client is disconnected",
        "LIMIT-8": "the least reserve of a server that waits for no passed file",
        "LIMIT-9 to LIMIT-12": "new",
        "CLNT-1 to CLNT-10": "new",
    },
}
"""What each version changed since the one before, newest first."""

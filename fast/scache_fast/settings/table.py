"""Every setting of the process: its name, what it takes, what it is without being asked, and what it is for.

Decides how a value is spelled, and what the values become. Refuses to know where a value comes from: the command line,
a file and the environment all use the names and the spellings of the one table here (configuration.py).

There is one setting for each field of `Limits`. Times take Postfix's suffixes, because the people who type them know
those.
"""

import os
import pwd
import re
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scache_fast.policy.access import Access, parse_group, parse_user
from scache_fast.policy.farewell import Farewell, parse_farewell
from scache_fast.policy.liveness import Liveness
from scache_spec.vocabulary import Limits

UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIME: Final = re.compile(r"([0-9]{1,10})([smhdw]?)")
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
"""syslog facilities, by the names that Postfix's syslog_facility takes."""

_TIME_S_MAX: Final = 2_147_483_647
"""Postfix keeps times in an int."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a socket file is to be; None: as it is made."""

    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for, from whatever source."""

    listen: tuple[str, ...]
    mode: int
    owner: Owner
    access: Access
    user: str | None
    group: str | None
    chroot: str | None
    log: str
    syslog_facility: str
    syslog_name: str
    verbose: bool
    limits: Limits
    descriptors_reserve: int
    farewells: tuple[Farewell, ...]
    liveness: Liveness
    ready_fd: int | None
    busy_wait: int


def parse_time_s(text: str) -> int:
    """Return the seconds that a time spells, at least 1; raises ArgumentTypeError."""
    match = _TIME.fullmatch(text)
    time_s = int(match[1]) * UNITS_S[match[2]] if match else 0
    if not 0 < time_s <= _TIME_S_MAX:
        raise ArgumentTypeError(
            f"{text!r} is not a time: write a whole number of at least 1 and s, m, h, d or w, like 2s or 10m"
        )
    return time_s


def _idle_time_s(text: str) -> int | None:
    return None if text == "never" else parse_time_s(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", text, re.ASCII):
        raise ArgumentTypeError(f"{text!r} is not a count: write a whole number of at least 1")
    return int(text)


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise ArgumentTypeError(f"{text!r} is not a number: write digits")
    return int(text)


def _mode(text: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ArgumentTypeError(f"{text!r} is not a file mode: write three octal digits, like 0660")
    return int(text, 8)


def _owner(text: str) -> Owner:
    user, colon, group = text.partition(":")
    if not user and not group:
        raise ArgumentTypeError(f"{text!r} is not an owner: write USER, USER:GROUP or :GROUP")
    return Owner(parse_user(user) if user else None, parse_group(group) if colon and group else None)


def _account(text: str) -> str:
    """Return the name of a user given by name or number: whom to become, and with which groups, is in the entry."""
    uid = parse_user(text)
    try:
        return pwd.getpwuid(uid).pw_name if text.isdigit() else text
    except KeyError:
        raise ArgumentTypeError(f"there is no user with the number {uid}") from None


def _group(text: str) -> str:
    return str(parse_group(text))


def _folder(text: str) -> str:
    if not os.path.isdir(text):
        raise ArgumentTypeError(f"{text!r} is not a folder")
    return text


def _path(text: str) -> str:
    if not text:
        raise ArgumentTypeError("the path is empty")
    return text


def _own_descriptor(text: str) -> int:
    number = _number(text)
    if number <= 2:
        raise ArgumentTypeError(f"{text} is a standard descriptor, and this one is closed after use: choose 3 or more")
    return number


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes these words and no other."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return parse


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: option `--ttl-limit`, key `ttl_limit`, variable `SCACHED_TTL_LIMIT`."""

    name: str
    group: str
    metavar: str
    parse: Callable[[str], object] | None
    """How a value is read; None: it is a flag."""

    default: str | None
    """The default as one would write it; None: there is none, and nothing is done about it."""

    help: str
    many: bool = False
    """It may be given several times; each adds one more."""

    is_quoted: bool = False
    """In a file it has to be a string: an integer there would be decimal, and have lost its leading zeros."""

    @property
    def option(self) -> str:
        """Return what it is called on a command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Return what it is called in the environment."""
        return "SCACHED_" + self.name.upper()


_NORMAL: Final = Limits()

_IPC_TIMEOUT: Final = "60s"
"""Twelve times what Postfix's smtp(8) itself gives a step (connection_cache_protocol_timeout, 5 s). The hour that
Postfix gives its servers made sense where a slow client was waited for; here it would only keep dead ones."""

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("listen", "where", "PATH", _path, None, "UNIX-domain socket to listen on; one that nobody listens on any "
            "more is replaced. Sockets passed by systemd are listened on as well", many=True),
    Setting("mode", "where", "MODE", _mode, "0666", "file mode of the sockets; with 0666 the folder's mode decides who "
            "may connect", is_quoted=True),
    Setting("owner", "where", "USER[:GROUP]", _owner, None, "owner of the sockets; needs root"),
    Setting("allow_uid", "who", "USER", parse_user, None, "let in processes of this user, by name or number, and "
            "nobody else who is not allowed by another --allow-…", many=True),
    Setting("allow_gid", "who", "GROUP", parse_group, None, "let in members of this group, likewise", many=True),
    Setting("user", "privileges", "USER", _account, None, "run as this user once the sockets are open; needs root"),
    Setting("group", "privileges", "GROUP", _group, None, "run as this group; default: the user's own groups"),
    Setting("chroot", "privileges", "FOLDER", _folder, None, "see nothing of the file system but this folder; needs "
            "root"),
    Setting("log", "log", "WHERE", one_of("stderr", "syslog"), "stderr", "stderr (with priorities under journald) or "
            "syslog"),
    Setting("syslog_facility", "log", "NAME", one_of(*FACILITIES), "daemon", "the facility of syslog lines"),
    Setting("syslog_name", "log", "NAME", str, "scached", "the name that lines begin with"),
    Setting("verbose", "log", "", None, None, "log each request, with its labels"),
    Setting("ttl_limit", "times", "TIME", parse_time_s, f"{_NORMAL.ttl_limit_s}s", "no connection is kept longer than "
            "this, whatever its ttl says"),
    Setting("max_idle", "times", "TIME", _idle_time_s, "never", "end after this time without a client, once no "
            "connection is kept"),
    Setting("status_update_time", "times", "TIME", parse_time_s, f"{_NORMAL.status_update_time_s}s", "how often "
            "statistics are printed"),
    Setting("ipc_timeout", "times", "TIME", parse_time_s, _IPC_TIMEOUT, "how long a client may leave one step "
            "unfinished; between requests it may wait for ever"),
    Setting("attribute_list_bytes_max", "limits", "BYTES", _count, str(_NORMAL.attribute_list_bytes_max), "longest "
            "request"),
    Setting("output_bytes_max", "limits", "BYTES", _count, str(_NORMAL.output_bytes_max), "a client with more replies "
            "waiting is not served until it has read some"),
    Setting("sessions_max", "limits", "N", _count, str(_NORMAL.sessions_max), "most connections kept"),
    Setting("sessions_per_endpoint_max", "limits", "N", _count, str(_NORMAL.sessions_per_endpoint_max), "most "
            "connections kept under one endpoint label"),
    Setting("bindings_max", "limits", "N", _count, str(_NORMAL.bindings_max), "most bindings from a destination to an "
            "endpoint"),
    Setting("clients_max", "limits", "N", _count, str(_NORMAL.clients_max), "most clients connected"),
    Setting("descriptors_reserve", "limits", "N", _number, "32", "descriptors that parked connections may not use up, "
            "so that clients still get in and can take connections out"),
    Setting("farewell", "kept connections", "PATTERN=BYTES", parse_farewell, None, r"send these bytes on a connection "
            r"that expires, if its endpoint label matches the pattern (* ? [...]), as in 'smtp*=QUIT\r\n'", many=True),
    Setting("liveness", "kept connections", "HOW", one_of(*(each.value for each in Liveness)), "off", "whether a "
            "connection is looked at before it is handed out: off as Postfix does, hup drops one that is broken, rdhup "
            "also one whose peer has closed it or sends no more (a TCP connection that was closed in order is no more "
            "than that)"),
    Setting("ready_fd", "process", "FD", _own_descriptor, None, "write a newline to this descriptor once clients are "
            "served, as s6 expects"),
    Setting("busy_wait", "process", "N", _number, "80", "look so often for something to do (80 times take about 40 µs) "
            "before going to sleep, while that is worth it: being woken takes longer than a client that answers at "
            "once, and with one or two of them twice as much gets done; 0 sleeps at once"),
)  # fmt: skip


def settings_from(given: Namespace) -> Settings:
    """Return the settings that values by name amount to."""
    limits = Limits(
        ttl_limit_s=given.ttl_limit,
        max_idle_s=given.max_idle,
        status_update_time_s=given.status_update_time,
        ipc_timeout_s=given.ipc_timeout,
        attribute_list_bytes_max=given.attribute_list_bytes_max,
        output_bytes_max=given.output_bytes_max,
        sessions_max=given.sessions_max,
        sessions_per_endpoint_max=given.sessions_per_endpoint_max,
        bindings_max=given.bindings_max,
        clients_max=given.clients_max,
    )
    return Settings(
        listen=tuple(given.listen or ()),
        mode=given.mode,
        owner=given.owner or Owner(),
        access=Access(frozenset(given.allow_uid or ()), frozenset(given.allow_gid or ())),
        user=given.user,
        group=given.group,
        chroot=given.chroot,
        log=given.log,
        syslog_facility=given.syslog_facility,
        syslog_name=given.syslog_name,
        verbose=given.verbose or False,
        limits=limits,
        descriptors_reserve=given.descriptors_reserve,
        farewells=tuple(given.farewell or ()),
        liveness=Liveness(given.liveness),
        ready_fd=given.ready_fd,
        busy_wait=given.busy_wait,
    )

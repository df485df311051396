"""Every setting of the process: its name, what it takes, its default, and what it is for.

The command line, a file and the environment all use the names and the spellings of the one table here; which of them
wins is in sources.py. There is one setting for each field of `Limits`.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Final, NamedTuple

from scache_fast.policy.access import Access
from scache_fast.policy.farewell import Farewell, parse_farewell
from scache_fast.policy.liveness import Liveness
from scache_fast.settings.accounts import Account, parse_account, parse_group, parse_user
from scache_fast.settings.values import (
    FACILITIES,
    Owner,
    Share,
    one_of,
    parse_busy_poll_us,
    parse_count,
    parse_folder,
    parse_idle_time_s,
    parse_mode,
    parse_own_descriptor,
    parse_owner,
    parse_part,
    parse_path,
    parse_reserve,
    parse_time_s,
)
from scache_spec.vocabulary import Limits


class Settings(NamedTuple):
    """What was asked for, from whatever source."""

    listen: tuple[str, ...]
    mode: int
    owner: Owner
    admin: str | None
    access: Access
    user: Account | None
    group: int | None
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
    busy_poll: int
    accelerator: str


class Setting(NamedTuple):
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
    Setting("listen", "sockets", "PATH", parse_path, None, "path of a UNIX socket to listen on. A socket file on which "
            "no process listens is replaced. The server also listens on the sockets that systemd passes", many=True),
    Setting("mode", "sockets", "MODE", parse_mode, "0600", "file mode of the sockets. Only users who may write to the "
            "socket may connect, and park and take connections. 0600: the owner and root; 0660: also the group; 0666: "
            "every user who can reach the folder", is_quoted=True),
    Setting("owner", "sockets", "USER[:GROUP]", parse_owner, None, "owner of the sockets; needs root"),
    Setting("admin", "sockets", "PATH", parse_path, None, "path of the admin socket, for scachectl: it shows the state "
            "of the server and accepts commands. Only root and the server's own user may connect. A socket that "
            "systemd passes with the name 'admin' is used too"),
    Setting("allow_uid", "access", "USER", parse_user, None, "allow clients running as this user (name or number). "
            "With any allow option, all other clients are refused", many=True),
    Setting("allow_gid", "access", "GROUP", parse_group, None, "allow clients that are members of this group (name or "
            "number). With any allow option, all other clients are refused", many=True),
    Setting("user", "privileges", "USER", parse_account, None, "run as this user as soon as the sockets are open; "
            "needs root"),
    Setting("group", "privileges", "GROUP", parse_group, None, "run as this group. Without this option: the user's own "
            "groups"),
    Setting("chroot", "privileges", "FOLDER", parse_folder, None, "change the root directory to this folder; needs "
            "root"),
    Setting("log", "log", "WHERE", one_of("stderr", "syslog"), "stderr", "where log lines go: stderr (with priorities "
            "if it is the journal of systemd) or syslog"),
    Setting("syslog_facility", "log", "NAME", one_of(*FACILITIES), "daemon", "facility of syslog lines"),
    Setting("syslog_name", "log", "NAME", str, "scached", "name at the beginning of each log line"),
    Setting("verbose", "log", "", None, None, "log each request, with its labels"),
    Setting("ttl_limit", "times", "TIME", parse_time_s, f"{_NORMAL.ttl_limit_s}s", "longest time that a connection "
            "stays parked, even if a client asks for more"),
    Setting("max_idle", "times", "TIME", parse_idle_time_s, "never", "end the server after this time without any "
            "client and any parked connection"),
    Setting("status_update_time", "times", "TIME", parse_time_s, f"{_NORMAL.status_update_time_s}s", "interval at "
            "which statistics are logged"),
    Setting("ipc_timeout", "times", "TIME", parse_time_s, _IPC_TIMEOUT, "longest time that a client may leave a "
            "request unfinished. A client that has no request unfinished may stay connected for ever"),
    Setting("attribute_list_bytes_max", "limits", "BYTES", parse_count, str(_NORMAL.attribute_list_bytes_max),
            "largest size of a request"),
    Setting("attributes_max", "limits", "N", parse_count, str(_NORMAL.attributes_max), "largest number of attributes "
            "in a request"),
    Setting("output_bytes_max", "limits", "BYTES", parse_count, str(_NORMAL.output_bytes_max), "largest size of the "
            "replies that a client has not read. A client beyond it is not served until it reads"),
    Setting("sessions_max", "limits", "N", parse_count, str(_NORMAL.sessions_max), "largest number of parked "
            "connections"),
    Setting("sessions_per_endpoint_max", "limits", "N", parse_count, str(_NORMAL.sessions_per_endpoint_max), "largest "
            "number of connections parked under one endpoint label"),
    Setting("bindings_max", "limits", "N", parse_count, str(_NORMAL.bindings_max), "largest number of bindings from a "
            "destination to an endpoint"),
    Setting("bindings_per_destination_max", "limits", "N", parse_count, str(_NORMAL.bindings_per_destination_max),
            "largest number of bindings of one destination label"),
    Setting("cached_bytes_max", "limits", "BYTES", parse_count, str(_NORMAL.cached_bytes_max), "largest total size of "
            "the labels and properties of all parked connections and bindings"),
    Setting("clients_max", "limits", "N", parse_count, str(_NORMAL.clients_max), "largest number of connected clients"),
    Setting("clients_per_user_max", "limits", "N", parse_part, "90%", "largest number of connected clients that run as "
            "one user: a number, a percentage of clients_max, or off. Root and the server's own user have no limit. "
            "Under master(8), where all clients run as one user, the default is off"),
    Setting("descriptors_reserve", "limits", "N", parse_reserve, "384", "number of descriptors that parked connections "
            "may not use, so that clients can always connect and take connections"),
    Setting("farewell", "parked connections", "PATTERN=BYTES", parse_farewell, None, r"send these bytes on each "
            r"connection that expires, if its endpoint label matches the pattern (* ? [...]). Example: "
            r"'smtp*=QUIT\r\n'", many=True),
    Setting("liveness", "parked connections", "HOW", one_of(*(each.value for each in Liveness)), "off", "which "
            "connections a find closes instead of handing them out. off: none, as Postfix does. hup: broken "
            "connections. rdhup: also connections whose peer has closed its end (only rdhup "
            "finds a TCP connection that its peer has closed in order)"),
    Setting("ready_fd", "process", "FD", parse_own_descriptor, None, "write a newline to this descriptor as soon as "
            "clients are served, as s6 expects"),
    Setting("busy_poll", "process", "US", parse_busy_poll_us, "50", "busy polling: before blocking, the loop polls for "
            "this number of microseconds (at most 1000), as long as the loop is busy and polls find something. With "
            "one or two clients that answer at once this doubles the throughput, because waking a blocked process "
            "takes longer. 0 blocks at once"),
    Setting("accelerator", "process", "WHETHER", one_of("auto", "off"), "auto", "what makes the system calls. auto: "
            "the accelerator, a module in C, if it is installed. off: Python"),
)  # fmt: skip


AT_RESTART: Final = frozenset(
    {"listen", "mode", "owner", "admin", "user", "group", "chroot", "log", "syslog_facility", "syslog_name",
     "descriptors_reserve", "ready_fd", "busy_poll", "accelerator"}
)  # fmt: skip
"""Settings that are read at the start alone; each of the others changes at a reload."""


def by_name(settings: Settings) -> dict[str, object]:
    """Return what was asked for by the name of its setting."""
    found: dict[str, object] = settings._asdict()
    limits: Limits = settings.limits
    access, farewells = settings.access, settings.farewells
    for name in ("limits", "access", "farewells"):
        del found[name]
    found |= {name.removesuffix("_s"): value for name, value in limits._asdict().items()}
    return {**found, "allow_uid": access.uids, "allow_gid": access.gids, "farewell": farewells}


def settings_from(given: SimpleNamespace) -> Settings:
    """Return the settings that values by name amount to."""
    per_user: int | Share | None = given.clients_per_user_max
    limits = Limits(
        ttl_limit_s=given.ttl_limit,
        max_idle_s=given.max_idle,
        status_update_time_s=given.status_update_time,
        ipc_timeout_s=given.ipc_timeout,
        attribute_list_bytes_max=given.attribute_list_bytes_max,
        attributes_max=given.attributes_max,
        output_bytes_max=given.output_bytes_max,
        sessions_max=given.sessions_max,
        sessions_per_endpoint_max=given.sessions_per_endpoint_max,
        bindings_max=given.bindings_max,
        bindings_per_destination_max=given.bindings_per_destination_max,
        cached_bytes_max=given.cached_bytes_max,
        clients_max=given.clients_max,
        clients_per_user_max=per_user.of(given.clients_max) if isinstance(per_user, Share) else per_user,
    )
    return Settings(
        listen=tuple(given.listen or ()),
        mode=given.mode,
        owner=given.owner or Owner(),
        admin=given.admin,
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
        busy_poll=given.busy_poll,
        accelerator=given.accelerator,
    )

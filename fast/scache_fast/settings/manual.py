"""The manual page scached(8), written from the table of settings.

Names, defaults and help are those of table.py, so that the page, `--help` and the program cannot differ.
"""

from typing import Final

from scache_fast import DATE, __version__
from scache_fast.settings.sizing import MEGABYTE, ROWS, Row, total_bytes
from scache_fast.settings.table import SETTINGS, Setting
from scache_spec.vocabulary import Limits

_HEAD: Final = r"""
.SH NAME
scached \- shared connection cache
.SH SYNOPSIS
.B scached
.RB [ \-\-listen
.IR PATH " ...]"
.RB [ \-\-config
.IR FILE ]
.RB [ \-\-takeover
.IR ADMIN_SOCKET ]
.RI [ option " ...]"
.SH DESCRIPTION
.B scached
keeps open connections for other programs on the same machine.
A program passes the descriptor of a connection to the server over a UNIX-domain socket, under a label and for a
limited time.
Any other program that asks for the label in time gets the descriptor and continues on the same connection.
The protocol is that of Postfix's
.BR scache (8).
.PP
The server runs alone, under
.BR systemd (1)
or another supervisor, or as a child of Postfix's
.BR master (8).
It detects which of these is the case.
.SH OPTIONS
Each option
.BI \-\- some-name
is also a key
.I some_name
of the file given with
.B \-\-config
(TOML) and an environment variable
.IR SCACHED_SOME_NAME .
The command line overrides the file, the file overrides the environment, and the environment overrides the default.
A list overrides a whole list.
In the environment, each item of a list is on a line of its own.
An unknown key in the file is an error.
.PP
A
.I TIME
is a whole number with s, m, h, d or w for seconds, minutes, hours, days or weeks.
Without a unit, it is in seconds.
.TP
.BI \-\-config " FILE"
Read settings from this file.
.TP
.B \-\-check\-config
Check the configuration, and end.
.TP
.B \-\-print\-config
Print each setting that is in force and where it comes from, and end.
.TP
.BI \-\-takeover " ADMIN_SOCKET"
Replace the server that has this admin socket; see TAKEOVER.
This option exists on the command line only.
.TP
.B \-\-version
Print the version, and end. With
.BR \-v ,
also print the form of the engine (plain Python or compiled), and whether the accelerator is installed.
""".lstrip()

_MIDDLE: Final = r"""
.SH UNDER SYSTEMD
The server listens on the sockets that it is passed (LISTEN_FDS), and on those of
.BR \-\-listen .
It sends READY, STATUS, STOPPING and WATCHDOG to NOTIFY_SOCKET. The loop itself sends WATCHDOG.
.SH UNDER POSTFIX
When
.BR master (8)
starts the server, it accepts the options of Postfix's daemons and these parameters, as
.BR scache (8)
does: connection_cache_ttl_limit, connection_cache_status_update_time, max_idle, ipc_timeout, daemon_timeout,
mail_owner, queue_directory, syslog_name, syslog_facility, maillog_file and postlog_service_name.
Any option above can be set in master.cf as
.BI "\-o scached_" some_name = value\fR.
.SH LIMITS
The server logs and counts each time that a limit is reached.
.PP
A save that would exceed the number of sessions or bindings is answered with status 2.
A client is disconnected if its request is too long, if too many clients are connected, or if it leaves a request
unfinished for too long.
A client that does not read its replies is not served until it does.
.PP
If the table of descriptors is full, the server continues: saves are refused, finds are served, and new clients are
accepted as soon as there is room.
.B \-\-descriptors\-reserve
prevents that parked connections fill the table.
.PP
This table shows the most memory that the default limits allow:
""".strip()

_AFTER_SIZES: Final = r"""
.PP
The kernel's memory of a parked socket is not in the table: it counts for the process that opened the socket.
.IR MemoryMax =
of the service unit is above the sum. If you raise a limit, raise it too.
.PP
The file mode prevents other users from connecting.
.B \-\-allow\-uid
and
.B \-\-allow\-gid
alone do not: they are checked when a connection is accepted, so refused clients still use the queue of the listening
socket.
""".strip()

_TAIL: Final = r"""
.SH FAREWELL
The server closes a connection that expires. Its peer may expect a closing command first, such as QUIT in SMTP.
.B \-\-farewell
.IR PATTERN = BYTES
sends these bytes before the close, and never blocks.
The pattern must match the whole endpoint label, as in a shell.
In the pattern and in the bytes, write \er \en \et \e0 \e\e \exNN for special bytes.
A farewell is useful for plain-text connections only: the server has no key for a TLS connection.
.SH LIVENESS
By default, a find gets the connection as it is, as from Postfix's server, and the client has to check it.
With
.BR "\-\-liveness hup" ,
a find closes broken connections and tries the next one: TCP connections that were reset, and UNIX connections whose
peer has closed them.
With
.BR rdhup ,
a find also closes connections whose peer has closed its end or sends no more.
.SH TAKEOVER
A process that is started with
.B \-\-takeover
gets the listening sockets, the clients, the bindings and every parked connection of the running server, which then
ends. No connection is closed.
.B \-\-listen
and
.B \-\-admin
may name only paths that the running server has.
If anything goes wrong before the new process is in charge, the new process ends with status 1, and the running server
continues.
A takeover is refused under
.BR systemd (1)
and
.BR master (8).
.SH RESTART UNDER SYSTEMD
If the unit sets
.BR FileDescriptorStoreMax= ,
parked connections survive
.BR "systemctl restart" .
.B systemctl stop
closes them, with their farewell if
.B ExecStop=
of the unit runs
.BR "scachectl flush" .
At a restart, the old process leaves these in the descriptor store of the service for the next process: each
binding, and each parked connection that is a TCP or UNIX socket and whose close does not block.
Clients are disconnected.
One entry of the store has 4048 connections or 8 MB of labels and properties.
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Log statistics, close everything, remove the sockets, and end with status 0.
.TP
.B SIGHUP
Read the settings again, from the same command line, file and environment. The log says which settings changed and
which need a restart. If any setting is wrong, the log says so, and no setting changes. In a chroot and under
.BR master (8)
the settings cannot be read again, and the log says so.
.TP
.B SIGUSR1
Log statistics, and begin a new interval.
.SH EXIT STATUS
.TP
.B 0
The server was ended by a signal, by a takeover or by
.BR "scachectl drain" ,
or was idle for
.BR \-\-max\-idle .
.TP
.B 1
The server could not start. A line of the log says why.
.TP
.B 2
The command line or another setting is wrong.
.SH EXAMPLE
.EX
scached \-\-listen /run/scached/scached.sock \-\-mode 0660 \-\-ttl\-limit 10m
.EE
.SH SEE ALSO
.BR scachectl (1),
.BR scached.toml (5),
.BR scache\-protocol (7),
.BR scached\-messages (7),
.BR scache (8),
.BR master (8),
.BR unix (7),
.BR systemd.socket (5)
""".strip()


_DEFAULTS: Final = {setting.name: setting.default for setting in SETTINGS}
_SIZES_HEAD: Final = (
    ".TS",
    "l r r lw(22n).",
    "Limit\tDefault\tMB\tT{\nWhat takes the memory; effect of the limit\nT}",
    "_",
)


def render() -> str:
    """Return the page."""
    groups = dict.fromkeys(setting.group for setting in SETTINGS)
    options = [
        line
        for group in groups
        for line in (f'.SS "{group}"', *(_entry(each) for each in SETTINGS if each.group == group))
    ]
    head = f"""'\\" t\n.\\" Generated by `make spec`; do not edit.\n.TH SCACHED 8 "{DATE}" "scached {__version__}"\n"""
    return head + _HEAD + "\n".join([*options, _MIDDLE, _sizes(), _AFTER_SIZES, _TAIL]) + "\n"


def _sizes() -> str:
    """Return the table of what the limits cost in memory."""
    limits = Limits()

    def line(row: Row) -> str:
        default = _DEFAULTS.get(row.limit, "")
        megabytes = round(row.bytes_of(limits) / MEGABYTE) or ""
        text = f"{row.what}; {row.client_sees}" if row.client_sees else row.what
        return f"{row.limit}\t{default}\t{megabytes}\tT{{\n.ad l\n{text}\nT}}"

    total = f"the sum\t\t{round(total_bytes(limits) / MEGABYTE)}\t"
    return "\n".join([*_SIZES_HEAD, *map(line, ROWS), "_", total, ".TE"])


def _entry(setting: Setting) -> str:
    name = _escaped(setting.option)
    short = "\\fB\\-v\\fR, " if setting.name == "verbose" else ""
    value = f" \\fI{_escaped(setting.metavar)}\\fR" if setting.metavar else ""
    help_text = _escaped(setting.help[0].upper() + setting.help[1:])
    notes = [f"Default: {_escaped(setting.default)}."] if setting.default else []
    notes += ["May be given several times."] if setting.many else []
    return "\n".join([".TP", f"{short}\\fB{name}\\fR{value}", f"{help_text}.", *notes])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")

"""The manual page scached(8), written from the table of settings: `python -m scache_fast.settings.manual [FILE]`.

Names, defaults and help are those of table.py, so that the page, `--help` and the program cannot differ.
"""

import sys
from pathlib import Path
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
A program passes it the descriptor of a connection over a UNIX-domain socket, under a label and for a while; any other
program that asks for the label in time is handed the descriptor and goes on where the first one stopped.
It speaks the protocol of Postfix's
.BR scache (8).
.PP
It runs alone, under
.BR systemd (1)
or a supervisor like it, or as a child of Postfix's
.BR master (8),
and finds out by itself which of these it is.
.SH OPTIONS
Every option
.BI \-\- some-name
is also a key
.I some_name
of the file given with
.B \-\-config
(TOML) and an environment variable
.IR SCACHED_SOME_NAME .
The command line wins over the file, the file over the environment, the environment over the default; that holds for
lists as a whole.
A list in the environment has its items on lines of their own.
Unknown keys of the file are errors.
.PP
A
.I TIME
is a whole number with s, m, h, d or w for seconds, minutes, hours, days or weeks; without one it is seconds.
.TP
.BI \-\-config " FILE"
Read settings from this file.
.TP
.B \-\-check\-config
Say whether the configuration is fine, and end.
.TP
.B \-\-print\-config
Print what is in force and where it comes from, and end.
.TP
.BI \-\-takeover " ADMIN_SOCKET"
Take over from the server that has this admin socket, and serve in its place; see TAKEOVER. This is no setting: no file
and no variable has it.
.TP
.B \-\-version
Print the version, and end. With
.B \-v
also print which form of the engine is installed, plain Python or compiled, and whether the accelerator is.
""".lstrip()

_MIDDLE: Final = r"""
.SH UNDER SYSTEMD
Sockets that are passed (LISTEN_FDS) are listened on, besides those of
.BR \-\-listen .
READY, STATUS, STOPPING and WATCHDOG are notified to NOTIFY_SOCKET; the watchdog is patted from inside the loop.
.SH UNDER POSTFIX
Started by
.BR master (8),
the options of Postfix's daemons and the parameters connection_cache_ttl_limit, connection_cache_status_update_time,
max_idle, ipc_timeout, daemon_timeout, mail_owner, queue_directory, syslog_name, syslog_facility, maillog_file and
postlog_service_name hold, as for
.BR scache (8).
Any option above can be set in master.cf as
.BI "\-o scached_" some_name = value\fR.
.SH LIMITS
Each limit that is hit is logged and counted.
A request that would go beyond the number of sessions or bindings is answered with status 2; a client that sends a list
that is too long, comes when there are too many, or leaves a step unfinished for too long is disconnected; one that does
not read its replies is not served until it does.
.PP
With the table of descriptors full the server lives: parking is refused, connections can be taken out, and new clients
are let in as soon as there is room.
.B \-\-descriptors\-reserve
keeps that from happening on account of parked connections.
.PP
The most memory that the limits allow, with their defaults:
""".strip()

_AFTER_SIZES: Final = r"""
.PP
What parked files themselves take in the kernel counts for whoever opened them.
.IR MemoryMax =
of the service unit lies above the sum; whoever raises a limit has to raise it too.
.PP
File mode keeps other users from connecting, and so from the queue of the listening socket;
.B \-\-allow\-uid
and
.B \-\-allow\-gid
alone do not, because they are judged when a connection is accepted.
""".strip()

_TAIL: Final = r"""
.SH FAREWELL
A connection that expires is closed, and its peer may miss the goodbye of its protocol.
.B \-\-farewell
.IR PATTERN = BYTES
sends the bytes first, without ever waiting.
The pattern is matched against the whole endpoint label, as in a shell; both sides take \er \en \et \e0 \e\e \exNN.
It is of use for connections in the clear only: a parked TLS connection holds no key.
.SH LIVENESS
By default what was parked is handed out as it is, as Postfix's server does: its clients find out by themselves.
With
.B \-\-liveness hup
a session whose connection is broken is closed at find and the next one is tried: a TCP connection that was reset, a
UNIX one whose peer has closed it.
With
.B rdhup
so is one whose peer has closed its end in order or sends no more.
.SH TAKEOVER
A process that is started with
.B \-\-takeover
gets the listening sockets, the clients, the bindings and every parked connection of the server that runs, which then
ends; no connection is closed.
Neither
.B \-\-listen
nor
.B \-\-admin
can name another path than that server has.
Where anything goes wrong before the new process is in charge, it ends with status 1, and the old one serves on.
Under
.BR systemd (1)
and
.BR master (8)
it is refused.
.SH RESTART UNDER SYSTEMD
What is parked survives
.BR "systemctl restart" ,
if the unit sets
.BR FileDescriptorStoreMax= ,
and is closed by
.BR "systemctl stop" .
The old process leaves sockets that hold it in the descriptor store of its service, and the next process takes it back:
each parked connection that is a TCP or UNIX socket and whose close does not wait, and each binding. Clients are
disconnected. One entry of the store has 4048 connections or 8 MB of labels and properties.
.SH SIGNALS
.TP
.BR SIGTERM ", " SIGINT
Print statistics, close everything, remove the sockets, end with status 0.
.TP
.B SIGHUP
Read the settings again, from the same command line, file and environment. The log says what changed, what needs a
restart, or what is wrong; then nothing changes. In a chroot and under
.BR master (8)
it says that this is not possible.
.TP
.B SIGUSR1
Print statistics; a new interval begins.
.SH EXIT STATUS
0 ended as told, or for being idle; 1 could not start, and a line of the log says why; 2 wrong usage.
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
_SIZES_HEAD: Final = (".TS", "l r r lw(22n).", "Limit\tDefault\tMB\tT{\nOf what; a client beyond it\nT}", "_")


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


def main() -> None:
    """Write the page to the file named, or to standard output."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":
    main()

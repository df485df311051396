"""Where settings come from, which source wins, and what is said about wrong ones."""

import os
import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.checkout import ROOT
from tests.support.processes import run

from scache_fast.settings.command_line import parser_of_all
from scache_fast.settings.sources import ConfigurationError, merge, plainly_given, read
from scache_fast.settings.table import SETTINGS, Setting, Settings
from scache_fast.settings.toml_file import read_file, show
from scache_spec.vocabulary import Limits


class Values(NamedTuple):
    """Three values of a setting, in order: for the command line, the file and the environment; and a wrong one."""

    line: str
    file: str
    variable: str
    wrong: str | None
    complaint: str = ""


TIMES = Values("1m", "2m", "3m", "soon", "is not a time: write a whole number")
COUNTS = Values("7", "8", "9", "-1", "is not a count")
VALUES = {
    "listen": Values("/a", "/b", "/c", "", "the path is empty"),
    "mode": Values("0600", "0640", "0644", "rw-rw-rw-", "is not a file mode: write three octal digits"),
    "owner": Values("1:2", "3:4", ":5", "nobody-of-that-name", "there is no user 'nobody-of-that-name'"),
    "admin": Values("/a", "/b", "/c", "", "the path is empty"),
    "allow_uid": Values("1", "2", "nobody", "4294967295", "there is no user 4294967295: numbers end at"),
    "allow_gid": Values("1", "2", "nogroup", "no-such-group", "there is no group 'no-such-group'"),
    "user": Values("root", "nobody", "daemon", "no-such-user", "there is no user 'no-such-user'"),
    "group": Values("1", "2", "nogroup", "no-such-group", "there is no group 'no-such-group'"),
    "chroot": Values("/", "/usr", "/tmp", "/no/such/folder", "'/no/such/folder' is not a folder"),
    "log": Values("syslog", "stderr", "syslog", "printer", "'printer' is none of stderr, syslog"),
    "syslog_facility": Values("mail", "local0", "local7", "post", "'post' is none of kern"),
    "syslog_name": Values("a", "b", "c", None),
    "verbose": Values("true", "false", "true", None),
    "max_idle": TIMES,
    "ttl_limit": TIMES,
    "status_update_time": TIMES,
    "ipc_timeout": TIMES,
    "attribute_list_bytes_max": COUNTS,
    "attributes_max": COUNTS,
    "output_bytes_max": COUNTS,
    "sessions_max": COUNTS,
    "sessions_per_endpoint_max": COUNTS,
    "bindings_max": COUNTS,
    "bindings_per_destination_max": COUNTS,
    "cached_bytes_max": COUNTS,
    "clients_max": COUNTS,
    "clients_per_user_max": Values("7", "off", "50%", "101%", "is not a part: write a whole number"),
    "descriptors_reserve": Values("333", "334", "9999", "332", "is too small a reserve"),
    "farewell": Values(r"a*=1\r\n", r'q"\x5c*=2\x00', "ü=3", r"a=\q", r"holds a \ that begins no escape"),
    "accelerator": Values("off", "auto", "off", "on", "'on' is none of auto, off"),
    "liveness": Values("hup", "rdhup", "off", "dead", "'dead' is none of off, hup, rdhup"),
    "busy_poll": Values("0", "1", "1000", "1001", "is too long: write a number of microseconds"),
    "ready_fd": Values("3", "4", "5", "2", "2 is a standard descriptor"),
}

EACH = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def on_the_line(setting: Setting, text: str) -> list[str]:
    return [setting.option] if setting.parse is None else [f"{setting.option}={text}"]


def in_a_file(folder: Path, setting: Setting, text: str) -> list[str]:
    value = text if setting.parse is None else f"[{quoted(text)}]" if setting.many else quoted(text)
    (folder / "scached.toml").write_text(f"{setting.name} = {value}\n", encoding="utf-8")
    return ["--config", str(folder / "scached.toml")]


def in_the_environment(setting: Setting, text: str) -> dict[str, str]:
    return {setting.variable: text}


def only(setting: Setting, text: str) -> Settings:
    """Return what there is if one setting has this value and all others their defaults."""
    return merge({"test": {setting.name: [text] if text != "false" else []}})


@EACH
def test_every_source_gives_the_setting_and_the_first_in_order_wins(setting: Setting, tmp_path: Path) -> None:
    values = VALUES[setting.name]
    environment = in_the_environment(setting, values.variable)
    file = in_a_file(tmp_path, setting, values.file)
    line = on_the_line(setting, values.line)
    assert read([], {}) == merge({})
    assert read([], environment) == only(setting, values.variable)
    assert read(file, {}) == only(setting, values.file)
    assert read(file, environment) == only(setting, values.file)
    assert read([*file, *line], environment) == only(setting, values.line)
    assert len({str(only(setting, text)) for text in values[:2]}) == 2, "the values do not differ"


@EACH
@pytest.mark.parametrize("source", ["line", "file", "variable", "default"])
def test_what_print_config_prints_gives_the_same_settings(
    setting: Setting, source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values = VALUES[setting.name]
    arguments: list[str] = []
    environment: dict[str, str] = {}
    if source == "line":
        arguments = on_the_line(setting, values.line)
    elif source == "file":
        arguments = in_a_file(tmp_path, setting, values.file)
    elif source == "variable":
        environment = in_the_environment(setting, values.variable)
    with pytest.raises(SystemExit) as ended:
        read([*arguments, "--print-config"], environment)
    assert ended.value.code == 0
    printed = capfd.readouterr().out
    (tmp_path / "printed.toml").write_text(printed, encoding="utf-8")
    # Also with the environment still there: the file says all that is to hold.
    assert read(["--config", str(tmp_path / "printed.toml")], environment) == read(arguments, environment)


@EACH
@pytest.mark.parametrize("source", ["line", "file", "variable"])
def test_wrong_value_names_its_origin_and_what_to_do(
    setting: Setting, source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, _, _, wrong, complaint = VALUES[setting.name]
    if wrong is None:
        return  # whatever it is, it is a name
    arguments: list[str] = []
    environment: dict[str, str] = {}
    if source == "line":
        arguments, origin = on_the_line(setting, wrong), f"command line: {setting.option}: "
    elif source == "file":
        arguments, origin = in_a_file(tmp_path, setting, wrong), f"{tmp_path}/scached.toml: {setting.name}: "
    else:
        # An empty list in a variable is no item, not an empty one.
        environment = in_the_environment(setting, wrong or "\0")
        origin = f"environment: {setting.variable}: "
        complaint = complaint if wrong else "has a NUL"
    with pytest.raises(SystemExit) as ended:
        read(arguments, environment)
    assert ended.value.code == 2
    printed = capfd.readouterr().err
    assert printed.startswith(f"scached: error: {origin}"), printed
    assert complaint in printed
    assert printed.count("\n") == 1


def test_every_setting_is_tried_here_and_every_limit_is_a_setting() -> None:
    assert set(VALUES) == {setting.name for setting in SETTINGS}
    assert {name.removesuffix("_s") for name in Limits._fields} < set(VALUES)


_OPTIONS: Final = [setting.option for setting in SETTINGS]
_WORDS: Final = st.sampled_from(
    [*_OPTIONS, "-v", "--config", "--takeover", "--version", "--check-config", "--print-config", "--", "--lis", "-x"]
)


@example(["--listen", "", "--listen=--"])
@given(st.lists(_WORDS | st.builds("{}={}".format, _WORDS, st.text("-=a ")) | st.text("-=a "), max_size=6))
def test_plain_command_line_means_what_argparse_takes_it_for(arguments: list[str]) -> None:
    given = plainly_given(arguments)
    if given is not None:
        assert given == vars(parser_of_all().parse_args(arguments))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_plain_command_line_needs_no_argparse(setting: Setting) -> None:
    arguments = [setting.option] if setting.parse is None else [setting.option, "a", f"{setting.option}=b"]
    value = True if setting.parse is None else ["a", "b"] if setting.many else "b"
    assert plainly_given(arguments) == {setting.name: value}


def test_wrong_value_counts_where_it_is_overruled(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(["--ttl-limit", "1m"], {"SCACHED_TTL_LIMIT": "x"})
    assert "environment: SCACHED_TTL_LIMIT: 'x' is not a time" in capfd.readouterr().err


def test_lists_are_overruled_as_a_whole(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text('allow_uid = []\nlisten = "/one"\n', encoding="utf-8")
    environment = {"SCACHED_ALLOW_UID": "1\n2", "SCACHED_LISTEN": "/a\n/b\n"}
    settings = read(["--config", str(tmp_path / "f")], environment)
    assert settings.access.uids == frozenset()
    assert settings.listen == ("/one",)
    assert read([], {"SCACHED_LISTEN": "/a\n/b\n"}).listen == ("/a", "/b")
    with pytest.raises(SystemExit):
        read(["--config", str(tmp_path / "f"), "--print-config"], environment)
    (tmp_path / "printed").write_text(capfd.readouterr().out, encoding="utf-8")
    assert read(["--config", str(tmp_path / "printed")], environment) == settings


def test_flag_of_a_file_overrules_the_environment(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("verbose = false\n", encoding="utf-8")
    assert read([], {"SCACHED_VERBOSE": "1"}).verbose
    assert not read(["--config", str(tmp_path / "f")], {"SCACHED_VERBOSE": "true"}).verbose
    assert not read([], {"SCACHED_VERBOSE": "0"}).verbose


def test_flag_that_is_neither_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read([], {"SCACHED_VERBOSE": "perhaps"})
    assert "environment: SCACHED_VERBOSE: 'perhaps' is neither true nor false" in capfd.readouterr().err


def test_names_and_numbers_are_the_same_users() -> None:
    by_name, by_number = ["--allow-uid=nobody", "--user=nobody"], ["--allow-uid=65534", "--user=65534"]
    assert read(by_name, {}) == read(by_number, {})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("ttl-limit = 5", "unknown key 'ttl-limit': did you mean 'ttl_limit'?"),
        ("TTL_LIMT = 5", "did you mean 'ttl_limit'?"),
        ("qqqq = 5", "unknown key 'qqqq': there are accelerator, admin, allow_gid, "),
        ("[limits]\nttl_limit = 5", "unknown key 'limits'"),
        ("ttl_limit", "is not TOML: "),
        ("ttl_limit = 1\nttl_limit = 2", "is not TOML: "),
        ("ttl_limit = 1.5", "ttl_limit: a float is given: write a string or an integer"),
        ("ttl_limit = true", "ttl_limit: a boolean is given: write a string or an integer"),
        ("ttl_limit = [1]", "ttl_limit: a list is given: write a string or an integer"),
        ("ttl_limit = {s = 1}", "ttl_limit: a table is given"),
        ("ttl_limit = 1979-05-27", "ttl_limit: a date or a time is given"),
        ("ttl_limit = -1", "ttl_limit: '-1' is not a time"),
        (f"ttl_limit = {'9' * 5000}", "is not TOML: Exceeds the limit"),
        (f"ttl_limit = 0x{'f' * 5000}", "ttl_limit: the integer is longer than TOML has them"),
        ("listen = [1, true]", "listen: a boolean is given: write a string or an integer, or a list of them"),
        ("listen = [['a']]", "listen: a list is given"),
        ('listen = "a\\u0000b"', r"listen: 'a\x00b' has a NUL"),
        ("mode = 0o660", "mode: an integer is given: write a string"),
        ("mode = 660", "mode: an integer is given: write a string"),
        ("verbose = 1", "verbose: an integer is given: write true or false"),
        ("x = " + "[" * 100_000, "is not TOML: "),
        ("#" * 1_000_001, "is longer than 1000000 bytes"),
        (b"listen = '\xff'", "is not TOML: 'utf-8' codec"),
    ],
    ids=lambda text: str(text)[:20],
)
def test_file_that_is_wrong_says_what_is_wrong_with_it(content: str | bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as error:
        merge({str(path): read_file(str(path))})
    assert str(path) in str(error.value)
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("/no/such/file", "No such file"), ("/", "Is a directory"), ("/dev/zero", "is longer than"), ("", "No such file")],
)
def test_file_that_cannot_be_read_says_why(path: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        read_file(path)


def test_integers_of_a_file_are_seconds_and_counts(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("ttl_limit = 7\nclients_max = 0x10\nallow_uid = [0, 'nobody']\n", encoding="utf-8")
    settings = merge({"f": read_file(str(tmp_path / "f"))})
    assert (settings.limits.ttl_limit_s, settings.limits.clients_max) == (7, 16)
    assert settings.access.uids == {0, 65534}


def test_what_is_shown_is_toml_whatever_the_values_hold() -> None:
    nasty = ["'", '"', "\\", "\n", "\t", "\x7f", "\u2028", "ü", "#", "]"]
    shown = show({"default": {}, "a\nb": {"listen": nasty, "syslog_name": ["".join(nasty)]}})
    content = tomllib.loads(shown)
    assert content["listen"] == nasty
    assert content["syslog_name"] == "".join(nasty)
    assert len(shown.splitlines()) == len(SETTINGS)


def test_print_config_names_each_origin(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("sessions_max = 5\n", encoding="utf-8")
    env = {"SCACHED_IPC_TIMEOUT": "7s"}
    ended = run("--config", tmp_path / "f", "--ttl-limit", "1m", "--print-config", env=env)
    assert ended.returncode == 0
    assert f'sessions_max = "5"  # {tmp_path}/f\n' in ended.stdout
    assert 'ipc_timeout = "7s"  # environment\n' in ended.stdout
    assert 'ttl_limit = "1m"  # command line\n' in ended.stdout
    assert 'bindings_max = "20000"  # default\n' in ended.stdout
    assert "# chroot is not set\n" in ended.stdout


def test_check_config_says_so_and_makes_no_socket(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(f'listen = "{tmp_path}/s"\n', encoding="utf-8")
    ended = run("--config", tmp_path / "f", "--check-config")
    assert (ended.returncode, ended.stdout) == (0, f"scached: the configuration is fine: {tmp_path}/f\n")
    assert not (tmp_path / "s").exists()
    (tmp_path / "f").write_text("nonsense = 1\n", encoding="utf-8")
    ended = run("--config", tmp_path / "f", "--check-config")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "unknown key 'nonsense'" in ended.stderr


def test_shipped_file_is_fine() -> None:
    path = ROOT / "deploy/systemd/scached.toml"
    text = re.sub(r"^# (?=\w+ = )", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    settings = merge({"shipped": read_file(str(path))})
    assert settings.limits.ttl_limit_s == 30
    assert set(tomllib.loads(text)) <= {setting.name for setting in SETTINGS}


def test_bytes_that_are_not_utf8_are_refused_with_a_word_about_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read([os.fsdecode(b"--farewell=a=\xff")], {})
    assert ended.value.code == 2
    assert r"command line: --farewell: b'a=\xff' is not UTF-8" in capfd.readouterr().err

"""The suite's stand-in for master(8) does what masters do: both are held against a recording."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.postfix.recorder import RECORDING, SETTINGS, record, record_master

from scache_conformance.servers.postfix import MasterChild

pytestmark = pytest.mark.needs("postfix", "root")


def recorded(name: str) -> dict[str, object]:
    """Return what was recorded with some lines of main.cf."""
    found: dict[str, dict[str, object]] = json.loads(RECORDING.read_text(encoding="utf-8"))
    return found[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_master_starts_a_child_as_it_is_recorded(name: str, jail: Path) -> None:
    assert record_master(jail, SETTINGS[name]) == recorded(name)


@pytest.mark.parametrize("name", SETTINGS)
def test_stand_in_starts_a_child_as_it_is_recorded(name: str, jail: Path) -> None:
    with ExitStack() as stack:

        def start(program: Path) -> Path:
            lines = tuple(SETTINGS[name].splitlines())
            child = MasterChild(program, drop_privileges=True, chroot=True, configuration=lines)
            stack.callback(child.stop)
            child.prepare()
            child.start()
            return child.queue_directory.parent

        found = record(jail, start)
    arguments = found["arguments"]
    assert isinstance(arguments, list)
    # What follows are words of the line in master.cf, which are the stand-in's own.
    found["arguments"] = arguments[: arguments.index("-o")]
    assert found == recorded(name)

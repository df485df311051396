"""The servers that the tests plug into the suite: the reference, the production server, Postfix's own.

One that is wrong on purpose is started like the reference.
"""

import sys
from pathlib import Path

import pytest
from tests.wrong.registry import served_by

from scache_conformance.generated.rules import RuleSet
from scache_conformance.servers.target import Declared, Target
from scache_conformance.servers.target_command import CommandServer
from scache_conformance.servers.target_postfix import PostfixServer
from scache_conformance.wire.peer import DEADLINE_S

OURS = {"reference": "scache_reference", "fast": "scache_fast"}

SERVERS = [*OURS, pytest.param("scache", marks=pytest.mark.needs("postfix", "compiler"))]
"""For pytest.mark.parametrize."""


def rule_set(name: str) -> RuleSet:
    """Return what the server can take part in."""
    return RuleSet.SEQUENTIAL if name == "scache" else RuleSet.ALL


def server(name: str, folder: Path, *, ttl_limit_s: int = 2, real_time: bool = False) -> Target:
    """Return a server, not started, under a virtual clock unless told otherwise."""
    if name == "scache":
        return PostfixServer(None, Declared(ttl_limit_s=ttl_limit_s), virtual_clock=not real_time)
    module = OURS[name]
    if real_time:
        declared = Declared(ttl_limit_s=ttl_limit_s)
        return CommandServer(f"{sys.executable} -m {module} --listen {{socket}} --ttl-limit {{ttl_limit_s}}", declared)
    return under_clock(module, folder, ttl_limit_s=ttl_limit_s)


def wrong(name: str, folder: Path, *, ttl_limit_s: int = 2) -> CommandServer:
    """Return a server that is wrong on purpose. It gets little time for replies, as some never come."""
    return under_clock("tests.wrong", folder, name, ttl_limit_s=ttl_limit_s, deadline_s=0.5)


def under_clock(
    module: str, folder: Path, *words: str, ttl_limit_s: int = 2, deadline_s: float = DEADLINE_S
) -> CommandServer:
    """Return a server that is a module of ours, with these words before its options, under a virtual clock."""
    declared = Declared(ttl_limit_s=ttl_limit_s, clock_path=folder / "clock", deadline_s=deadline_s)
    return CommandServer(served_by(" ".join([module, *words])), declared, name=words[0] if words else module)

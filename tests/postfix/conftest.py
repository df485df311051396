"""What several modules start."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.postfix.launcher import Starter

from scache_conformance.servers.postfix import postfix_parameter
from scache_conformance.servers.unavailable import Unavailable


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    try:
        postfix_parameter("mail_owner")
    except Unavailable as missing:
        pytest.skip(str(missing))
    if os.geteuid() != 0:
        pytest.skip("only root may start a child that changes its user or its root: run as root")
    with ExitStack() as stack:
        yield Starter(stack, tmp_path)

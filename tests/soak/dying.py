"""`python -m tests.soak.dying NOTE STEP SIGNAL ARGUMENT …`: scached, killed or stopped at a step of a takeover.

A step is a message sent or received, or a use of the eventfd: the process gets the signal before one or right after it.
NOTE says when that was.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scache_fast.__main__ import main
from scache_fast.takeover.channel import Channel

_Answer = TypeVar("_Answer")

note, left, number = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
state = "old before its offer" if "--takeover" not in sys.argv else "new before it took"


def step() -> None:
    """Count a step; die or stop if it is the one."""
    global left
    left -= 1
    if left == 0:
        note.write_text(state)
        os.kill(os.getpid(), number)


def around(call: Callable[..., _Answer], afterwards: str = "") -> Callable[..., _Answer]:
    """Make a call that counts a step before it and one after it; what comes after it may change what a death means."""

    def counted(*arguments: object) -> _Answer:
        global state
        step()
        answer = call(*arguments)
        state = afterwards or state
        step()
        return answer

    return counted


Channel.send = around(Channel.send)  # type: ignore[method-assign]  # that is what it is for
Channel.receive = around(Channel.receive)  # type: ignore[method-assign]
os.eventfd_write = around(os.eventfd_write, "old after its offer")
os.eventfd_read = around(os.eventfd_read, "new after it took" if "--takeover" in sys.argv else "")

if __name__ == "__main__":
    sys.exit(main(sys.argv[4:]))

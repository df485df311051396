"""The command: `python -m scache_proof` proves, `python -m scache_proof STATE INPUT ACTION NEXT` tries a wrong row."""

import argparse
import os
import signal
import sys
import time
from types import FrameType

from scache_proof.control import first_broken
from scache_proof.induction import row_case
from scache_proof.report import Figures, run
from scache_proof.story import tell
from scache_spec.conversation import Action, Input, State, Transition


def main(arguments: list[str] | None = None) -> None:
    """Print the proof, or the story of what a row would break; exit 1 if something is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m scache_proof",
        description="Prove the invariants of the conversation's table, for any number of clients and sessions. With a "
        "row, say instead which invariant this row would break.",
    )
    parser.add_argument(
        "row",
        nargs="*",
        metavar="STATE INPUT ACTION NEXT",
        help="a row to try instead, such as READY OTHER_LIST IGNORE REQUEST",
    )
    row: list[str] = parser.parse_args(arguments).row
    end_when_interrupted()
    if row:
        if len(row) != 4:
            parser.error("a row is four names: STATE INPUT ACTION NEXT")
        for name, kind in zip(row, (State, Input, Action, State), strict=True):
            if name not in kind.__members__:
                parser.error(f"{name} is not a name of {kind.__name__}: write one of {', '.join(kind.__members__)}")
        sys.exit(_try(State[row[0]], Input[row[1]], Transition(State[row[3]], Action[row[2]], "CONN-4")))
    began, figures = time.perf_counter(), Figures()
    for line in run(figures):
        print(line, flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    sys.exit(figures.failed)


def end_when_interrupted() -> None:
    """Let Ctrl-C end this process at once, with one line and status 130.

    A KeyboardInterrupt would not do: within a call of z3, ctypes makes an error of its own of it, or it is lost.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os.write(2, b"\ninterrupted: nothing is proved\n")
        os._exit(130)

    signal.signal(signal.SIGINT, end)


def _try(state: State, what: Input, row: Transition) -> int:
    invariant = first_broken(row_case(state, what, row), "")
    print("Every invariant holds with this row." if invariant is None else tell(state, what, row, invariant))
    return int(invariant is not None)


if __name__ == "__main__":
    main()

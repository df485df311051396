"""What a server was expected to do, and did not."""

import time
from typing import Final


class Unmet(Exception):  # noqa: N818 - what a server did, not a mistake of this program
    """Something expected of the server did not happen; what was expected, and what was seen instead."""

    def __init__(self, expected: str, actual: str) -> None:
        """Keep both sides."""
        super().__init__(f"expected {expected}; got {actual}")
        self.expected: Final = expected
        self.actual: Final = actual
        self.at_s: Final = time.monotonic()


class Silence(Unmet):
    """Nothing came before the deadline had passed: no expiry and no slow machine explains that away."""

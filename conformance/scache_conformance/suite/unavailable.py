"""The one exception for what this machine lacks.

Decides nothing: it only keeps "cannot be tried here" apart from "was tried and failed".
"""


class Unavailable(Exception):  # noqa: N818 - it names a state of the machine, not a mistake.
    """Something outside this package is missing. The text says what, and what to install or change."""

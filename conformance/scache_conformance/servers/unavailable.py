"""The one exception for what this machine, or this server, lacks: "cannot be tried" is not "was tried and failed"."""


class Unavailable(Exception):  # noqa: N818 - it names a state of the machine, not a mistake.
    """Something outside this package is missing. The text says what, and what to install or change."""

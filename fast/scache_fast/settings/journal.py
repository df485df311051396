"""Whether journald reads what is written to standard error. It then takes a line's priority from `<N>` in front of it.

Source: sd-daemon(3).
"""

import os


def reads_stderr() -> bool:
    """Say so; raises OSError where standard error is closed."""
    # journald adds name and pid itself, and says in this variable which device and inode its end is.
    status = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"

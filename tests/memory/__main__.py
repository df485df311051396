"""`python -m tests.memory`: fill every limit that memory depends on, and compare with the manual's table.

Exit status 1: something took more than the table and its margin say. The full limits need 101 000 descriptors for the
server (`ulimit -n`); with fewer, everything is filled to the same fraction.
"""

import argparse
import math
import resource
import sys
import tempfile
from pathlib import Path

from tests.memory.filling import MARGIN, fill, scaled
from tests.support.commands import status_of

from scache_fast.settings.sizing import MEGABYTE

_DESCRIPTORS = 101_000


def main() -> int:
    """Fill and compare; print a line for each row."""
    parser = argparse.ArgumentParser(prog="python -m tests.memory", description=__doc__)
    parser.add_argument("--scale", type=int, help="fill so many times less (default: by ulimit -n)")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scale = parser.parse_args().scale or math.ceil(_DESCRIPTORS / hard)
    is_within = True
    print(f"the limits divided by {scale}")
    print(f"{'MB':52}{'table':>8}{'measured':>10}   at most {MARGIN} times the table")
    with tempfile.TemporaryDirectory() as folder:
        for each in fill(Path(folder), scaled(scale)):
            is_within &= each.is_within
            table, measured = each.table_bytes / MEGABYTE, each.measured_bytes / MEGABYTE
            print(f"{each.what:52}{table:8.1f}{measured:10.1f}{'' if each.is_within else '   MORE'}", flush=True)
    return int(not is_within)


if __name__ == "__main__":
    sys.exit(status_of(main))

"""`python -m tests.soak [PAIRS]`: the long form, a million pairs by default; a line for each measure."""

import sys
import tempfile
import time
from pathlib import Path

from tests.soak.soak import GrownError, soak
from tests.support.commands import status_of
from tests.support.processes import running


def main() -> int:
    """Run it; return 1 if something has grown."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        with running("--listen", path, "--ttl-limit", "600") as server:
            try:
                for measure in soak(server, path, pairs):
                    print(
                        f"{measure.pairs:>9} pairs  {measure.resident_kb:>7} kB  {measure.descriptors} descriptors  "
                        f"{time.monotonic() - began_s:6.1f} s",
                        flush=True,
                    )
            except GrownError as error:
                print(f"GROWN: {error}")
                return 1
            server.end()
    print("flat")
    return 0


if __name__ == "__main__":
    sys.exit(status_of(main))

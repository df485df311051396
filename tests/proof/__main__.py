"""`make prove`: the proof, the formulas held to the program, every negative control, the assumptions."""

import sys
import time
from dataclasses import replace

from tests.proof.wrong_rules import try_rules

from scache_proof.__main__ import end_when_interrupted
from scache_proof.control import by_invariant
from scache_proof.report import Figures, run
from scache_spec.assurance import PROVED


def main() -> None:
    """Print the report and the wrong rules; exit 1 if something is broken or escapes without a reason."""
    end_when_interrupted()
    began, figures = time.perf_counter(), Figures()
    for line in run(figures):
        print(line, flush=True)
    tried = list(try_rules())
    caught = [each for each in tried if each.broken is not None]
    print(f"\nNegative control: of {len(tried)} wrong rules of table and cache, {len(caught)} break an invariant")
    for name, count in by_invariant(tried).most_common():
        print(f"  {count:4} {name}")
    for each in tried:
        if each.broken is None:
            print(f"  {'none' if each.reason else 'NONE'} {each.name}: {each.reason or 'no reason is known'}")
        elif each.reason:
            print(f"  STALE {each.name} is listed as breaking nothing, and breaks {each.broken}")
        figures.failed |= (each.broken is None) != bool(each.reason)
    figures.caught["wrong rules of table and cache"] = len(caught), len(tried)
    if (shown := figures.shown()) != PROVED:
        # Of wrong rules there are more every week: their figures are corrected when the page is written anew.
        figures.failed |= replace(shown, caught=shown.caught[:-1]) != replace(PROVED, caught=PROVED.caught[:-1])
        print(f"\nSPEC.md has other figures: put these into scache_spec.assurance and make spec\n{shown}")
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    sys.exit(figures.failed)


if __name__ == "__main__":
    main()

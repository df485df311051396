"""`python -m tests.wrong.mutants NAME --listen PATH`: a wrong server as a process. `--list` names them all."""

import sys

from tests.wrong.mutants import (  # noqa: F401
    in_the_cache,
    in_the_dance,
    in_the_limits,
    in_the_lists,
    in_the_process,
    in_the_sockets,
    in_the_statistics,
)
from tests.wrong.mutants.registry import MUTANTS

from scache_reference.__main__ import main

if __name__ == "__main__":
    if sys.argv[1:] == ["--list"]:
        for mutant in MUTANTS.values():
            print(f"{mutant.name:<36} {' '.join(mutant.clauses):<24} {mutant.wrong}")
        sys.exit()
    if sys.argv[1] not in MUTANTS:
        sys.exit(f"there is no mutant {sys.argv[1]!r}: --list names them all")
    MUTANTS[sys.argv[1]].spoil()
    main(sys.argv[2:])

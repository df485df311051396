"""`python -m tests.fuzz [RUNS]`: libFuzzer on the accelerator's splitter, under AddressSanitizer and UBSan.

Before the real one, two copies with a fault on purpose are built: an overflow and a leak. Both have to be reported. It
takes clang and Debian's python3-dev. The programs and what they found are left in .cache/fuzz.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.checkout import ROOT
from tests.support.commands import status_of

FOLDER: Final = ROOT / ".cache/fuzz"
WIRE: Final = ROOT / "fast/scache_fast/engine/_wire.c"

RUNS: Final = 10_000_000

FIELD: Final = "return PyBytes_FromStringAndSize(data, length)"
RELEASE: Final = "        Py_XDECREF(*place);\n"

FAULTS: Final = {
    "overflow": (FIELD, FIELD.replace("length", "length + 64"), "AddressSanitizer: heap-buffer-overflow"),
    "leak": (RELEASE, "", "LeakSanitizer: detected memory leaks"),
}
"""What is wrong on purpose: a text of the source, what it becomes, and what has to be reported."""

OPTIONS: Final = ["-g", "-O2", "-Wall", "-Wextra", "-fno-sanitize-recover=all", "-fsanitize=fuzzer,address,undefined"]

SEEDS: Final = (b"\x02request\0find_endp\0label\0e\0\0", b"\x01a\0b\0\0", b"\x00\0", b"\x03a\0\0b\0\0\0")


def main() -> int:
    """Run it; return 1 if a fault was not reported, or the real splitter is wrong."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    corpus = FOLDER / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    for name, (right, wrong, report) in FAULTS.items():
        source = WIRE.read_text(encoding="utf-8")
        assert source.count(right) == 1, f"{right!r} is not in {WIRE} once"
        faulty = FOLDER / f"{name}.c"
        faulty.write_text(source.replace(right, wrong), encoding="utf-8")
        status, said = run(build(name, faulty), corpus, 100_000)
        if status == 0 or report not in said:
            print(f"{said}\nfuzz: the seeded {name} was not reported")
            return 1
        print(f"fuzz: the seeded {name} was reported: {report}", flush=True)
    status, said = run(build("splitter", WIRE), corpus, runs)
    print(said[-3000:] if status else said.strip().splitlines()[-1])
    print(f"fuzz: {'FAILED' if status else f'{runs} executions, and nothing was reported'}")
    return min(status, 1)


def build(name: str, wire: Path) -> Path:
    """Compile a splitter into a fuzzer."""
    program = FOLDER / name
    flags = subprocess.run(
        ["/usr/bin/python3-config", "--includes", "--ldflags", "--embed"], capture_output=True, text=True, check=True
    ).stdout.split()
    source = Path(__file__).with_name("splitter.c")
    command = ["clang", *OPTIONS, f'-DWIRE="{wire}"', str(source), "-o", str(program), *flags]
    subprocess.run(command, check=True)
    return program


def run(program: Path, corpus: Path, runs: int) -> tuple[int, str]:
    """Run a fuzzer; return its exit status and what it said."""
    # Python's own allocator would hide an object's end from AddressSanitizer.
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "spec", "fast"))
    environment = {**os.environ, "PYTHONMALLOC": "malloc", "PYTHONPATH": paths}
    command = [
        str(program),
        f"-runs={runs}",
        "-max_len=200",
        "-detect_leaks=1",
        f"-artifact_prefix={FOLDER}/",
        str(corpus),
    ]
    ended = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


if __name__ == "__main__":
    sys.exit(status_of(main))

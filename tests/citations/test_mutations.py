"""What is done to a cited line."""

import ast

import pytest
from tests.citations.mutations import mutations

SOURCE = """\
LIMIT = 5

def rule(self, a, b):
    if a < b and self.ready:
        return True
    while not a:
        a += 1
    for each in b:
        print(each)
    self.state = None
    c = self.find(a)
    d = a if b else c
    return (
        a == b
        and not c
    )
"""


def done_to(line: int) -> dict[str, str]:
    """Return the changed lines by what was done."""
    right = SOURCE.splitlines()
    found = {}
    for mutation in mutations(SOURCE, line):
        ast.parse(mutation.source)
        wrong = mutation.source.splitlines()
        assert len(wrong) == len(right)
        (found[mutation.done],) = [after.strip() for before, after in zip(right, wrong, strict=True) if before != after]
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            4,
            {
                "negated": "if not (a < b and self.ready):",
                "never": "if False:",
                "left out: a < b": "if True and self.ready:",
                "left out: self.ready": "if a < b and True:",
                "<= in place of: a < b": "if a <= b and self.ready:",
            },
        ),
        (5, {"deleted": "pass"}),
        (6, {"negated": "while not (not a):", "never": "while False:"}),
        (7, {"deleted": "pass", "2 in place of 1": "a += 2"}),
        (8, {"never": "for each in ():"}),
        (10, {"deleted": "pass"}),
        (11, {"deleted": "pass"}),
        (12, {"negated: b": "d = a if not (b) else c"}),
        (15, {"left out": "and True", "negated": "and (not (not c))"}),
    ],
)
def test_line_is_changed_so_that_it_does_not_do_what_it_says(line: int, expected: dict[str, str]) -> None:
    assert done_to(line) == expected


@pytest.mark.parametrize("line", [1, 2, 3])
def test_only_what_a_function_does_can_be_changed(line: int) -> None:
    assert mutations(SOURCE, line) == []

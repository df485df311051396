"""What is wrong on purpose: each rule once, with the clauses it breaks and the layers of checks that must catch it.

A wrong rule is a function that takes the place of a right one and gets that as its first argument:

    @wrong("ENDP-3", of=caches.find_endp)
    def newest_first(right, cache, endpoint):
        '''A find hands out the youngest session of its endpoint.'''
        ...

`of` is a function or a method, an `Action`, the key of a row, or a module and a name; a row or another value is
replaced by what the function makes of it. A rule that replaces several things, or remembers something between two
calls, has no `of` and is given an `Instead`. A server that is wrong as a whole, in whatever language, is a command:
`wrong_server`.

The modules of tests.wrong.rules hold the rules; a new module there is found by itself. Each layer runs every rule that
has no reason to escape it:

* exploration: the table made of the wrong rule beside the right specification (tests/side_by_side/exploration);
* lockstep: the server made of the wrong rule beside the right specification (tests/side_by_side/lockstep);
* suite: that server as a process, under every case of the conformance suite (tests.wrong.table).
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, wraps
from importlib import import_module
from types import FunctionType, MappingProxyType, ModuleType
from typing import Final, ParamSpec, Self, TypeVar

from tests.support.checkout import ROOT

from scache_spec.actions import ACTIONS
from scache_spec.clauses import gather
from scache_spec.conversation import TRANSITIONS, Action, Input, State
from scache_spec.vocabulary import Limits

P = ParamSpec("P")
R = TypeVar("R")
Kind = TypeVar("Kind")

CLAUSES: Final = gather()
UNDER_CLOCK: Final = f"{sys.executable} {ROOT}/tests/conformance/under_virtual_clock.py {{clock}}"
LIMITS: Final = " ".join(f"--{name.removesuffix('_s').replace('_', '-')} {{{name}}}" for name in Limits._fields)


class Layer(Enum):
    """Checks that are worth their time if they catch what is wrong."""

    EXPLORATION = "exploration"
    LOCKSTEP = "lockstep"
    SUITE = "suite"


Replaced = Callable[..., object] | Action | tuple[State, Input] | tuple[ModuleType, str]
"""What a wrong rule takes the place of."""


class Instead:
    """Wrong things in the places of right ones: in force while it is entered, as often as that is."""

    def __init__(self) -> None:
        self._changes: list[tuple[object, object, object, object]] = []

    def __call__(self, of: Replaced) -> Callable[[Callable[..., object]], Callable[..., object]]:
        """Return a decorator that puts a function in the place of this, everywhere the servers look it up."""

        def put(wrong: Callable[..., object]) -> Callable[..., object]:
            for holder, name in places(of):
                right = _get(holder, name)
                is_rule = isinstance(right, FunctionType)
                self._changes.append((holder, name, right, _before(wrong, right) if is_rule else wrong(right)))
            return wrong

        return put

    def __enter__(self) -> Self:
        for holder, name, _, wrong in self._changes:
            _set(holder, name, wrong)
        return self

    def __exit__(self, *error: object) -> None:
        for holder, name, right, _ in self._changes:
            _set(holder, name, right)

    def looked_up(self) -> list[object]:
        """Return what the servers find where something is put."""
        return [_get(holder, name) for holder, name, _, _ in self._changes]

    def spoil(self, kind: type[Kind], *methods: str) -> type[Kind]:
        """Return a class whose objects do these things wrongly, and all else as this class does."""
        return type(kind.__name__, (kind,), {name: self._around(getattr(kind, name)) for name in methods})

    def _around(self, method: Callable[P, R]) -> Callable[P, R]:
        @wraps(method)
        def act(*given: P.args, **named: P.kwargs) -> R:
            with self:
                return method(*given, **named)

        return act


def places(of: Replaced) -> list[tuple[object, object]]:
    """Return where the servers look up what is replaced; one function may have been imported into several modules."""
    if isinstance(of, Action):
        return [(ACTIONS, of)]
    if isinstance(of, tuple):
        return [(TRANSITIONS, of)] if isinstance(of[0], State) else [(of[0], of[1])]
    kind, _, name = of.__qualname__.rpartition(".")
    if kind:
        return [(getattr(sys.modules[of.__module__], kind), name)]
    parts = ("scache_spec", "scache_reference", "scache_fast")
    modules = [each for label, each in sys.modules.items() if label.partition(".")[0] in parts]
    return [(each, name) for each in modules if vars(each).get(name) is of]


def right_of(of: Replaced) -> object:
    """Return what a wrong rule takes the place of."""
    return _get(*places(of)[0])


def _before(wrong: Callable[..., object], right: object) -> Callable[..., object]:
    return lambda *given, **named: wrong(right, *given, **named)


def _get(holder: object, name: object) -> object:
    return holder[name] if isinstance(holder, dict) else getattr(holder, str(name))


def _set(holder: object, name: object, value: object) -> None:
    if isinstance(holder, dict):
        holder[name] = value
    else:
        setattr(holder, str(name), value)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that is wrong: whose part it spoils, and how it is served, as the suite's `--exec` takes it."""

    slug: str
    clauses: tuple[str, ...]
    what: str
    command: str
    server: str = "reference"
    escapes: Mapping[Layer, str] = field(default_factory=lambda: MappingProxyType({}))
    """The layers that need not catch it, each with the reason."""
    function: Callable[..., object] = lambda _: None
    of: Replaced | None = None

    def __str__(self) -> str:
        return self.slug

    def instead(self) -> Instead:
        """Return the change, which remembers nothing yet."""
        made = Instead()
        if self.of is None:
            self.function(made)
        else:
            made(self.of)(self.function)
        return made


_RULES: Final[dict[str, Rule]] = {}


def wrong(
    *clauses: str,
    of: Replaced | None = None,
    server: str = "reference",
    escapes: Mapping[Layer, str] = {},
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register the decorated function; its name is the rule's, its docstring says what is wrong."""

    def register(function: Callable[P, R]) -> Callable[P, R]:
        slug = function.__name__.replace("_", "-")
        what = " ".join((function.__doc__ or "").split())
        _add(Rule(slug, clauses, what, served_by(f"tests.wrong {slug}"), server, escapes, function, of))
        return function

    return register


def wrong_server(slug: str, *clauses: str, what: str, command: str, server: str = "reference") -> None:
    """Register a server that is wrong as a whole, by a command as the suite's `--exec` takes it."""
    escapes = dict.fromkeys((Layer.EXPLORATION, Layer.LOCKSTEP), "it is a program of its own")
    _add(Rule(slug, clauses, what, command, server, escapes=escapes))


def stranger(name: str) -> str:
    """Return the command that serves by a server of tests.wrong.strangers: a slip's, or the right one of a source."""
    return f"{sys.executable} -m tests.wrong.strangers {name} --clock {{clock}} --listen {{socket}} {LIMITS}"


def right_server() -> Rule:
    """Return what says that it is wrong and is not: every layer must report that it escapes."""
    return Rule("right", ("ENDP-3",), "Nothing is wrong.", served_by("scache_reference"))


def served_by(module: str) -> str:
    """Return the command that serves by a module of ours, under the suite's clock."""
    return f"{UNDER_CLOCK} {module} --listen {{socket}} {LIMITS}"


def _add(rule: Rule) -> None:
    assert rule.slug not in _RULES, f"two wrong rules named {rule.slug}"
    assert rule.clauses, f"{rule.slug} breaks nothing"
    assert all(clause in CLAUSES for clause in rule.clauses), f"{rule.slug} breaks what nobody states: {rule.clauses}"
    assert rule.what, f"{rule.slug} does not say what is wrong"
    _RULES[rule.slug] = rule


@cache
def rules() -> Mapping[str, Rule]:
    """Return every wrong rule by its name."""
    for path in sorted((ROOT / "tests/wrong/rules").glob("*.py")):
        import_module(f"tests.wrong.rules.{path.stem}")
    return MappingProxyType(_RULES)


def caught_by(layer: Layer) -> list[Rule]:
    """Return the rules that a layer must catch."""
    return [rule for rule in rules().values() if layer not in rule.escapes]


def by_clause() -> dict[str, list[Rule]]:
    """Return the wrong rules that break each clause; clauses that nothing breaks are left out."""
    broken: dict[str, list[Rule]] = {}
    for rule in rules().values():
        for clause in rule.clauses:
            broken.setdefault(clause, []).append(rule)
    return broken

"""Why a wrong rule need not be caught by a layer: for each reason, the layer and the reason."""

from types import MappingProxyType

from tests.wrong.registry import Layer

NO_LISTS = MappingProxyType(
    {Layer.EXPLORATION: "the exploration asks a table, and writes no list that is not a request"}
)
NO_PROCESS = MappingProxyType({Layer.EXPLORATION: "a table has no sockets, no slow clients and no end"})
NO_DESCRIPTORS = MappingProxyType({Layer.EXPLORATION: "the handles of the exploration are numbers, each saved once"})
NO_NANOSECONDS = MappingProxyType(
    dict.fromkeys((Layer.EXPLORATION, Layer.SUITE), "the exploration and the suite count whole seconds")
)
REMEMBERS = MappingProxyType({Layer.EXPLORATION: "the rule remembers what no copy of a table does"})
NO_SUCH_SCOPE = MappingProxyType({Layer.EXPLORATION: "no scope has labels that show it, or room for it"})
NO_INTERVALS = MappingProxyType({Layer.EXPLORATION: "the exploration prints no statistics"})

NOT_GENERATED = MappingProxyType(
    {Layer.LOCKSTEP: "the lists, labels and moments that are generated show it seldom, or never"}
)
NO_IDLE_EXIT = MappingProxyType({Layer.LOCKSTEP: "the servers in lockstep have no max_idle_s: they would all be gone"})
NO_FULL_SOCKETS = MappingProxyType({Layer.LOCKSTEP: "the clients of the lockstep read all that they are sent"})
CLOSES_ANYTHING = MappingProxyType(
    dict.fromkeys((Layer.LOCKSTEP, Layer.SUITE), "which file a number is that is closed again is chance")
)
NEXT_TURN = MappingProxyType(
    dict.fromkeys((Layer.LOCKSTEP, Layer.SUITE), "the next turn of the loop mends it, and turns are not compared")
)

SOON_REMOVED = MappingProxyType(
    dict.fromkeys(
        (Layer.LOCKSTEP, Layer.SUITE), "more has to be due at a time than a turn removes, and saved again then"
    )
)
OTHER_CLAUSES = MappingProxyType({Layer.SUITE: "the cases that fail try other clauses"})

"""The middle of repeated measurements and how far they lie apart.

One figure of several rounds is the median, with the smallest and the largest beside it. With five rounds
quartiles would pretend to more. Ratios are taken round by round, since what disturbs a round disturbs both sides of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, the smallest and the largest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Summarize values. Raises ValueError when there are none."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("no median of nothing: no round was measured")
        return cls(median(ordered), ordered[0], ordered[-1])

    @classmethod
    def of_ratios(cls, above: Sequence[float], below: Sequence[float]) -> Self:
        """Summarize the ratios of values measured in the same rounds. Raises ValueError when there are none."""
        return cls.of(a / b for a, b in zip(above, below, strict=True))

"""Latency histograms: how many operations fell into which bucket, and the percentiles read from that."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket, in nanoseconds: (first value, first value of the next bucket, count), in ascending order."""

    buckets: tuple[tuple[int, int, int], ...]

    @property
    def count(self) -> int:
        """Return how many operations were counted."""
        return sum(count for _, _, count in self.buckets)

    def percentile_ns(self, percent: float) -> float:
        """Return the middle of the bucket in which the percentile lies.

        That is the bucket of the operation of rank ceil(percent % of all): the smallest latency that so many did not
        exceed. Raises ValueError when nothing was counted.
        """
        if not self.buckets:
            raise ValueError("no percentile of nothing: the histogram is empty")
        wanted = percent / 100 * self.count
        seen = 0
        for start, end, count in self.buckets:
            seen += count
            if seen >= wanted:
                return (start + end - 1) / 2
        start, end, _ = self.buckets[-1]
        return (start + end - 1) / 2

    def share_above(self) -> list[tuple[float, float]]:
        """Return for each bucket its latency in nanoseconds and the share of operations that took longer than it."""
        total, above = self.count, self.count
        points = []
        for _, end, count in self.buckets:
            above -= count
            points.append((float(end), above / total))
        return points


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """Add histograms up, bucket by bucket."""
    counts: dict[tuple[int, int], int] = {}
    for histogram in histograms:
        for start, end, count in histogram.buckets:
            counts[start, end] = counts.get((start, end), 0) + count
    return Histogram(tuple((start, end, count) for (start, end), count in sorted(counts.items())))

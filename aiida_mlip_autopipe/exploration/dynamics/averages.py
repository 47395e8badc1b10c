"""Running averages in almost constant memory, with the number of independent values."""

from __future__ import annotations

from typing import Any

# With fewer blocks, the variance of the block means is too uncertain.
MIN_BLOCKS = 16


class Blocking:
    """Mean, variance and statistical inefficiency of a series, updated with each value.

    Blocks of 1, 2, 4 … values are averaged. For blocks longer than the correlation time, the variance of the block
    means times the block length tends to the variance times the statistical inefficiency (Flyvbjerg and Petersen,
    J. Chem. Phys. 91, 461 (1989)). The memory use grows with the logarithm of the length of the series.

    Parameters
    ----------
    levels
        A state from `dump`, from which a series continues.
    """

    def __init__(self, levels: list[list[float]] | None = None):
        # For each level: count, mean, sum of squared deviations and, if the count is odd, the value without a partner.
        self._levels: list[list[float]] = [list(level) for level in levels] if levels else []

    def add(self, value: float) -> None:
        """Add the next value of the series."""
        depth = 0
        while True:
            if depth == len(self._levels):
                self._levels.append([0, 0.0, 0.0, 0.0])
            level = self._levels[depth]
            level[0] += 1
            deviation = value - level[1]
            level[1] += deviation / level[0]
            level[2] += deviation * (value - level[1])
            if level[0] % 2:
                level[3] = value
                return
            value = 0.5 * (level[3] + value)
            depth += 1

    def dump(self) -> list[list[float]]:
        """Return the state as JSON."""
        return [list(level) for level in self._levels]

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self._levels[0][0]) if self._levels else 0

    @property
    def mean(self) -> float | None:
        """Mean of the values."""
        return self._levels[0][1] if self._levels else None

    def summary(self) -> dict[str, Any]:
        """Return mean, standard deviation, statistical inefficiency and number of independent values.

        The inefficiency is the maximum over all block lengths with enough blocks. It is only a lower bound if the
        correlation time exceeds the longest of these blocks.
        """
        if self.count < 2 * MIN_BLOCKS:
            return {'n': self.count, 'mean': self.mean}
        variance = self._levels[0][2] / (self.count - 1)
        inefficiency = 1.0
        for depth, (count, _, squares, _) in enumerate(self._levels):
            if count >= MIN_BLOCKS and variance > 0:
                inefficiency = max(inefficiency, 2**depth * squares / (count - 1) / variance)
        return {
            'n': self.count,
            'mean': self.mean,
            'standard_deviation': variance**0.5,
            'statistical_inefficiency': inefficiency,
            'n_independent': self.count / inefficiency,
        }

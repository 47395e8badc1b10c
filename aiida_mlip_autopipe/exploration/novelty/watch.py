"""Which frames of a run are new, and whether the run is in the trusted region."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.settings.novelty import NoveltySettings


class Measure(Protocol):
    """A measure of novelty.

    Attributes
    ----------
    name
        Its name in the info of a frame, with its unit.
    unit
        Its unit, for messages.
    """

    name: str
    unit: str

    def of(self, system: PhaseSpace, evaluation: Evaluation) -> float:
        """Return the novelty of a structure."""
        ...

    def learn(self) -> None:
        """Take into account that the last structure has been stored."""
        ...

    def dump(self) -> dict[str, np.ndarray]:
        """Return arrays for a checkpoint."""
        ...

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the arrays from `dump`."""
        ...


@dataclass
class Watched:
    """What a run has found so far.

    Attributes
    ----------
    n_checked, total, maximum
        Number, sum and maximum of the values.
    n_new
        Number of values above the threshold.
    last
        The last value.
    cooling
        Whether the temperature is reduced.
    left
        Whether the run has left the trusted region and must end.
    """

    n_checked: int = 0
    total: float = 0.0
    maximum: float = 0.0
    n_new: int = 0
    last: float = 0.0
    cooling: bool = False
    left: bool = False


class Watch:
    """Decides by the novelty of a structure whether it is stored, and whether the run ends or is cooled.

    Parameters
    ----------
    settings
        The threshold and the limit.
    measure
        The measure of novelty.
    """

    def __init__(self, settings: NoveltySettings, measure: Measure):
        self.settings = settings
        self.measure = measure
        self.found = Watched()

    @property
    def temperature_factor(self) -> float:
        """The factor of the target temperature."""
        return self.settings.cooling_factor if self.found.cooling else 1.0

    def check(self, value: float, number: int) -> tuple[bool, str | None]:
        """Return whether a frame is stored, and a message if the run has left or entered the trusted region.

        Parameters
        ----------
        value
            The novelty of the frame.
        number
            Number of the frame, from 1, including those that are not stored.
        """
        found, (threshold, limit) = self.found, self.settings.limits
        found.n_checked += 1
        found.last = value
        found.total += value
        found.maximum = max(found.maximum, value)
        found.n_new += value > threshold
        if limit is not None and value > limit:
            return False, self._leave(value, limit)
        message = None
        if found.cooling:
            found.cooling = False
            message = f'{self._show(value)} is again within the limit of {limit:g}; the temperature is restored'
        every = self.settings.always_every
        return value > threshold or (every is not None and number % every == 0), message

    def _leave(self, value: float, limit: float) -> str | None:
        found = self.found
        if self.settings.on_limit == 'stop':
            found.left = True
            return f'{self._show(value)} exceeds the limit of {limit:g}; the run ends'
        if found.cooling:
            return None
        found.cooling = True
        factor = self.settings.cooling_factor
        return f'{self._show(value)} exceeds the limit of {limit:g}; the temperature is multiplied by {factor:g}'

    def _show(self, value: float) -> str:
        return f'the novelty of {value:.3g} {self.measure.unit}'.rstrip()

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return asdict(self.found)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state from `dump`."""
        self.found = Watched(**state)

    def summary(self) -> dict[str, Any]:
        """Return the statistics for the result."""
        found = self.found
        mean = found.total / found.n_checked if found.n_checked else None
        return {'n': found.n_checked, 'n_new': found.n_new, 'mean': mean, 'maximum': found.maximum}

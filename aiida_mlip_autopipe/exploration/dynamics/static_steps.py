"""Steps without dynamics: what the loop of a run needs from a minimiser and from other ways to move atoms."""

from __future__ import annotations

from typing import Any

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.phase_space import Evaluate, PhaseSpace


class StaticSteps:
    """The base of all ways to move atoms without momenta.

    A step may need several evaluations. `step` makes one of them, and ``n_substeps`` is their number since the last
    complete step. It is 0 if the last evaluation completed a step.

    Parameters
    ----------
    system
        The state, which is changed in place. Its momenta remain zero.
    evaluate
        A function that returns energy, forces and stress for positions and a cell.
    evaluation
        The evaluation of the initial state.
    """

    def __init__(self, system: PhaseSpace, evaluate: Evaluate, evaluation: Evaluation):
        self.system = system
        self.evaluate = evaluate
        self.evaluation = evaluation
        self.n_substeps = 0
        self.reports: list[tuple[str, str]] = []

    def set_targets(self, temperature_K: float, pressure: float) -> None:
        """Do nothing, because temperature and pressure are constant."""

    @property
    def converged(self) -> bool:
        """Whether no further step is needed."""
        return False

    def step(self) -> None:
        """Make one evaluation, which completes a step or is a part of it."""
        raise NotImplementedError

    def finish(self) -> None:
        """Add reports at the end of the run."""

    def dump(self) -> dict[str, Any]:
        """Return the state that `system` does not contain, as JSON; floats are preserved exactly."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state from `dump`."""
        raise NotImplementedError

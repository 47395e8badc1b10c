"""EMT with the faults of a reference method: wrong energies that a repetition corrects, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase.calculators.emt import EMT


class UnsteadyEMT(EMT):
    """EMT that fails for cells of some volumes.

    Parameters
    ----------
    wrong_A3
        Volumes between which the energy is wrong by 20 eV, unless the settings are varied.
    raises_A3
        Volumes between which the calculation raises an error.
    """

    def __init__(self, wrong_A3: Sequence[float] = (0, 0), raises_A3: Sequence[float] = (0, 0), **kwargs: Any):
        super().__init__(**kwargs)
        self._wrong_A3, self._raises_A3, self._varied = wrong_A3, raises_A3, False

    def vary(self, variation: str) -> None:
        """Compute all structures in a different way from now on."""
        self._varied = True

    def calculate(self, atoms: Any = None, *arguments: Any, **kwargs: Any) -> None:
        super().calculate(atoms, *arguments, **kwargs)
        volume_A3 = self.atoms.get_volume()
        if self._raises_A3[0] < volume_A3 < self._raises_A3[1]:
            raise RuntimeError('the density does not fit')
        if self._wrong_A3[0] < volume_A3 < self._wrong_A3[1] and not self._varied:
            for name in ('energy', 'free_energy'):
                self.results[name] += 20

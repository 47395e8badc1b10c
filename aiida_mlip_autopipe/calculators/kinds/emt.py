"""Effective medium theory, ASE's own: the cheap calculator for trials and tests, metals only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiida_mlip_autopipe.calculators.base import CalculatorLoader, CalculatorSettings, Loaded


class EMTSettings(CalculatorSettings):
    """ASE's effective medium theory, for Al, Cu, Ag, Au, Ni, Pd, Pt and their alloys."""

    kind: Literal['emt'] = 'emt'
    """Effective medium theory."""
    # The list of ASE's EMT goes half an ångström beyond its midpoint, 6.1 Å for the largest of its atoms.
    cutoff_A: float = Field(default=6.6, gt=0)
    """Range in Å."""
    device: Literal['auto', 'cpu'] = 'auto'
    """It runs on the CPU."""
    dtype: Literal['float64'] = 'float64'
    """It computes in double precision."""


class EMTLoader(CalculatorLoader):
    """Loads `ase.calculators.emt.EMT` without the memory of its neighbour list."""

    settings_class = EMTSettings
    settings: EMTSettings
    package = 'ase'
    module = 'ase'
    uses_torch = False
    known_elements = frozenset({'H', 'C', 'N', 'O', 'Al', 'Ni', 'Cu', 'Pd', 'Ag', 'Pt', 'Au'})

    def load(self) -> Loaded:
        """Return EMT with a neighbour list that is made anew for every structure."""
        from ase.calculators.emt import EMT, parameters
        from ase.data import atomic_numbers
        from ase.neighborlist import NeighborList

        class MemorylessEMT(EMT):  # type: ignore[misc]
            # The list that ASE makes has a skin: which pairs it holds, and in which order they are summed, depends on
            # where the atoms were when it was made. A run that is restarted would differ from one that was not.
            def initialize(self, atoms):  # type: ignore[no-untyped-def]
                super().initialize(atoms)
                self.nl = NeighborList(
                    [0.5 * self.rc_list] * len(atoms), skin=0.0, self_interaction=False, bothways=True
                )

        return Loaded(MemorylessEMT(), elements=frozenset(atomic_numbers[symbol] for symbol in parameters))


VARIANT = EMTLoader

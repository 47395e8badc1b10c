"""ASE's effective medium theory: a fast calculator for some metals, used for tests."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiida_mlip_autopipe.calculators.base import CalculatorLoader, CalculatorSettings, Loaded


class EMTSettings(CalculatorSettings):
    """ASE's effective medium theory, for Al, Cu, Ag, Au, Ni, Pd, Pt and their alloys."""

    kind: Literal['emt'] = 'emt'
    """Effective medium theory."""
    # ASE's EMT counts neighbours up to 5.88 Å, for all elements. Its neighbour list extends to 6.48 Å, with a skin of
    # 0.3 Å around each atom.
    cutoff_A: float = Field(default=6.6, gt=0)
    """Cutoff in Å."""
    device: Literal['auto', 'cpu'] = 'auto'
    """Device. This calculator runs on the CPU."""
    dtype: Literal['float64'] = 'float64'
    """Floating-point type. This calculator uses double precision."""


class EMTLoader(CalculatorLoader):
    """Loads `ase.calculators.emt.EMT`, with a neighbour list that does not depend on earlier structures."""

    settings_class = EMTSettings
    settings: EMTSettings
    package = 'ase'
    module = 'ase'
    uses_torch = False
    known_elements = frozenset({'H', 'C', 'N', 'O', 'Al', 'Ni', 'Cu', 'Pd', 'Ag', 'Pt', 'Au'})

    def load(self) -> Loaded:
        """Return EMT with a new neighbour list for each structure."""
        from ase.calculators.emt import EMT, parameters
        from ase.data import atomic_numbers
        from ase.neighborlist import NeighborList

        class MemorylessEMT(EMT):  # type: ignore[misc]
            # ASE's neighbour list has a skin. Its pairs and their order depend on the positions at which it was
            # built, so a restarted run would differ from an uninterrupted one.
            def initialize(self, atoms):  # type: ignore[no-untyped-def]
                super().initialize(atoms)
                self.nl = NeighborList(
                    [0.5 * self.rc_list] * len(atoms), skin=0.0, self_interaction=False, bothways=True
                )

        return Loaded(MemorylessEMT(), elements=frozenset(atomic_numbers[symbol] for symbol in parameters))


VARIANT = EMTLoader

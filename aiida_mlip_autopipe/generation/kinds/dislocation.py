"""Dipoles of screw dislocations in cubic crystals."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import PositiveFloat

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.defects.screw_dipoles import screw_dipole
from aiida_mlip_autopipe.generation.kinds.stacking_fault import standard_cell
from aiida_mlip_autopipe.generation.kinds.surface import MillerIndex
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.surfaces.slabs import Plane
from aiida_mlip_autopipe.generation.surfaces.stacking import Stack, make_stack

# The shortest Burgers vectors.
BURGERS: dict[str, Plane] = {'fcc': (1, 1, 0), 'bcc': (1, 1, 1), 'diamond': (1, 1, 0)}


class DislocationSettings(ComposedSettings):
    """Dipoles of screw dislocations in a cubic crystal."""

    kind: Literal['dislocation'] = 'dislocation'
    """Dislocations."""
    burgers: tuple[MillerIndex, ...] = ()
    """Directions of the Burgers vectors in the conventional cell. A Burgers vector is the shortest lattice vector along
    its direction. By default [1, 1, 0] in fcc and diamond, and [1, 1, 1] in bcc."""
    separation_A: PositiveFloat = 10.0
    """Minimum distance between two dislocations of opposite sign in Å."""


class DislocationGenerator(ComposedGenerator):
    """Makes a dipole for each Burgers vector of each crystal."""

    settings_class = DislocationSettings
    settings: DislocationSettings

    @cached_property
    def _stacks(self) -> list[tuple[int, Plane, Stack]]:
        """The index of the crystal, the direction, and the crystal with this direction along z."""
        found = []
        for crystal in self.crystals():
            unit, lattice = standard_cell(self.draw_crystal(crystal))
            formula = unit.get_chemical_formula()
            if np.ptp(unit.cell.lengths()) > 1e-6 or not np.allclose(unit.cell.angles(), 90):
                raise AutopipeError(Code.HOST_UNSUITABLE, f'dislocation needs a cubic crystal; {formula} is not cubic')
            directions = self.settings.burgers or ((BURGERS[lattice],) if lattice in BURGERS else ())
            if not directions:
                raise AutopipeError(
                    Code.VALUE_MISSING,
                    f'set burgers; {formula} has none of the lattices with a default: {", ".join(BURGERS)}',
                )
            # Any direction in the plane can be used, since nothing is displaced along it.
            found += [
                (crystal, (h, k, l), make_stack(unit, (h, k, l), (k, -h, 0) if h or k else (1, 0, 0)))
                for h, k, l in directions  # noqa: E741 (Miller indices)
            ]
        return found

    def n_parents(self) -> int | None:
        """Return the number of dipoles, or None if elements are arranged on the sites at random."""
        return len(self._stacks) if self.inner.n_units() is not None else None

    def period(self) -> int:
        """Return the number of dipoles, which are used in turn."""
        return len(self._stacks)

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each dipole."""
        return len(self._stacks) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a crystal with two screw dislocations of opposite sign."""
        crystal, direction, stack = self._stacks[index % len(self._stacks)]
        cut, burgers_A, distance_A = screw_dipole(stack, self.settings.separation_A, requirements.min_width_A)
        atoms, filled = self.repeat_and_fill(cut, rng, requirements)
        record = {
            'of': {'kind': self.settings.of.kind, 'crystal': crystal, **filled},
            'burgers': list(direction),
            'burgers_A': burgers_A,
            'distance_A': distance_A,
        }
        return Parent(atoms, record, repeatable=(False, False, False), charge_allowed=self.inner.charge_allowed)


VARIANT = DislocationGenerator

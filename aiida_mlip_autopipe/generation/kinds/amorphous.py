"""Amorphous solids and melts: atoms packed at random at a given density."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.counts import choose_counts, smallest_counts
from aiida_mlip_autopipe.generation.chemistry.elements import Element
from aiida_mlip_autopipe.generation.chemistry.oxidation import guess_states
from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.particles.packing import Bodies, cubic_edge, pack
from aiida_mlip_autopipe.generation.validation import CHARGE_TOLERANCE, atomic_radii, like_charge_limits
from aiida_mlip_autopipe.structures.densities import DALTON_PER_A3

N_RANDOM_SEEDS = 10
MIN_DEFAULT_ATOMS = 100
# Ions of like charge are packed slightly farther apart than the rule requires.
MARGIN = 1.02


def _normalise(amounts: dict[str, float]) -> dict[str, float]:
    if not amounts or any(amount <= 0 for amount in amounts.values()):
        raise fault(Code.COMPOSITION_INVALID, 'must be elements with amounts above 0, such as {Si: 1, O: 2}')
    total = sum(amounts.values())
    return {symbol: amount / total for symbol, amount in amounts.items()}


class AmorphousSettings(GeneratorSettings):
    """Atoms at random positions, at a given density."""

    kind: Literal['amorphous'] = 'amorphous'
    """Atoms at random positions, at a given density."""
    composition: Annotated[dict[Element, float], AfterValidator(_normalise)]
    """Relative amounts of the elements, such as {Si: 1, O: 2} or {Cu: 0.46, Zr: 0.46, Al: 0.08}."""
    density_g_per_cm3: PositiveFloat | None = None
    """Density in g/cm³."""
    volume_per_atom_A3: PositiveFloat | None = None
    """Volume per atom in Å³, instead of the density."""
    n_atoms: PositiveInt | None = None
    """Number of atoms. The default is the smallest number (at least 100) for which the cell is wide enough for the
    calculator and can have the composition without a net charge."""
    composition_tolerance: float = Field(default=0.05, gt=0, le=0.5)
    """Maximum relative deviation of the fraction of an element in the cell from `composition`."""
    oxidation_states: dict[Element, float] | None = None
    """Mean oxidation state of each element; by default they are guessed, and metals have none. 0 for all elements means
    no ions."""
    distance_factor: float = Field(default=0.8, gt=0, le=1.2)
    """Minimum distance to which atoms are moved apart, divided by the sum of their covalent radii."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if (self.density_g_per_cm3 is None) == (self.volume_per_atom_A3 is None):
            code = Code.VALUES_INCOMPLETE if self.density_g_per_cm3 is None else Code.VALUES_EXCLUDE
            raise fault(code, 'set density_g_per_cm3 or volume_per_atom_A3')
        states = self.oxidation_states
        if states is not None and set(states) != set(self.composition):
            raise fault(Code.VALUE_INVALID, f'oxidation_states must contain exactly {", ".join(self.composition)}')
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements of the composition."""
        return frozenset(self.composition)


class AmorphousGenerator(Generator):
    """Packs atoms at random."""

    settings_class = AmorphousSettings
    settings: AmorphousSettings

    @cached_property
    def _states(self) -> dict[str, float]:
        """The mean oxidation state of each element; empty without ions."""
        settings = self.settings
        counts = smallest_counts(settings.composition)
        if settings.oxidation_states is not None:
            states = settings.oxidation_states
        else:
            guess = guess_states(counts)
            if guess is None:
                formula = ''.join(f'{symbol}{count}' for symbol, count in counts.items())
                raise AutopipeError(
                    Code.CHARGE_UNBALANCED,
                    f'no oxidation states balance {formula}; set oxidation_states, with 0 for all elements if the '
                    'material is not ionic',
                )
            states = guess.means
        total = sum(states.get(symbol, 0.0) * count for symbol, count in counts.items())
        if abs(total) > CHARGE_TOLERANCE:
            listed = ' '.join(f'{symbol} {count}' for symbol, count in counts.items())
            raise AutopipeError(Code.CHARGE_UNBALANCED, f'oxidation_states sum to {total:+g} e for {listed}')
        return states if any(states.values()) else {}

    def default_n_seeds(self) -> int:
        """Return the number of seeds: ten packings."""
        return N_RANDOM_SEEDS * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a random packing in a cubic cell."""
        settings = self.settings
        counts = self._choose_counts(requirements)
        symbols = [symbol for symbol, count in counts.items() for _ in range(count)]
        atoms = Atoms(symbols, pbc=True)
        edge = cubic_edge(len(atoms) * self._volume_per_atom(atoms))
        if edge < requirements.min_width_A * (1 - 1e-6):
            needed = int(np.ceil(len(atoms) * (requirements.min_width_A / edge) ** 3))
            raise AutopipeError(
                Code.CELL_TOO_SMALL,
                f'the cell of {counted(len(atoms), "atom")} is {edge:.2f} Å wide, and the calculator needs '
                f'{requirements.min_width_A:.2f} Å; use at least {needed} atoms (n_atoms, validation.max_atoms)',
            )
        if self._states:
            atoms.set_initial_charges([self._states[symbol] for symbol in symbols])
        species = np.searchsorted(sorted(set(atoms.numbers.tolist())), atoms.numbers)
        bodies = Bodies([np.zeros((1, 3))] * len(atoms), list(species[:, None]), self._contacts(atoms))
        packing = pack(bodies, np.full(3, edge), rng)
        if packing.scale < 1:
            density = atoms.get_masses().sum() / edge**3 * DALTON_PER_A3
            raise AutopipeError(
                Code.DENSITY_IMPOSSIBLE,
                f'the atoms of {atoms.get_chemical_formula()} do not fit at {density:.4g} g/cm³; use a density of at '
                f'most {density * packing.density_factor:.3g} g/cm³, or a distance_factor of at most '
                f'{settings.distance_factor * packing.density_factor ** (1 / 3):.2f}',
            )
        atoms.set_cell(np.full(3, edge))
        atoms.positions = packing.positions
        record: dict[str, Any] = {
            'counts': counts,
            'density_g_per_cm3': float(atoms.get_masses().sum() / atoms.get_volume() * DALTON_PER_A3),
        }
        if self._states:
            record['oxidation_states'] = {symbol: float(state) for symbol, state in self._states.items()}
        return Parent(atoms, record, repeatable=(False, False, False))

    def _choose_counts(self, requirements: Requirements) -> dict[str, int]:
        settings = self.settings
        if settings.n_atoms:
            check_size(settings.n_atoms, 'n_atoms')
            totals = range(settings.n_atoms, settings.n_atoms + 1)
        else:
            unit = Atoms([s for s, count in smallest_counts(settings.composition).items() for _ in range(count)])
            # The volume per atom of the rounded composition may be slightly smaller.
            wide = requirements.min_width_A**3 / self._volume_per_atom(unit) * (1 + 1e-6)
            smallest = max(MIN_DEFAULT_ATOMS, int(np.ceil(wide)))
            if smallest > requirements.max_atoms:
                reason, remedy = f'by default a cell has at least {MIN_DEFAULT_ATOMS} atoms', 'set n_atoms'
                if wide > requirements.max_atoms:
                    reason = f'a cell that is {requirements.min_width_A:.2f} Å wide has {smallest} atoms'
                    remedy = 'lower validation.min_width_factor'
                raise AutopipeError(
                    Code.TOO_MANY_ATOMS,
                    f'{reason}, and validation.max_atoms is {requirements.max_atoms}; raise it, or {remedy}',
                )
            totals = range(smallest, requirements.max_atoms + 1)
        return choose_counts(settings.composition, totals, settings.composition_tolerance, self._states, 'atoms')

    def _volume_per_atom(self, atoms: Atoms) -> float:
        settings = self.settings
        if settings.density_g_per_cm3 is None:
            assert settings.volume_per_atom_A3 is not None  # the validator requires one of the two
            return settings.volume_per_atom_A3
        return float(atoms.get_masses().mean() / settings.density_g_per_cm3 * DALTON_PER_A3)

    def _contacts(self, atoms: Atoms) -> np.ndarray:
        """Return the minimum distance of each pair of elements in Å, in the order of their atomic numbers."""
        numbers, first = np.unique(atoms.numbers, return_index=True)
        charges = atoms.get_initial_charges()[first]
        radii = atomic_radii()[numbers]
        contacts = self.settings.distance_factor * (radii[:, None] + radii)
        if not self._states:
            return np.asarray(contacts)
        one, other = np.meshgrid(np.arange(len(numbers)), np.arange(len(numbers)), indexing='ij')
        return np.asarray(np.maximum(contacts, MARGIN * like_charge_limits(numbers, charges, one, other)))


VARIANT = AmorphousGenerator

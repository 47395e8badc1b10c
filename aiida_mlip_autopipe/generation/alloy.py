"""Substitutional alloys: elements spread at random over the sites of a lattice."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.elements import Composition, realise_counts
from aiida_mlip_autopipe.generation.lattices import Lattice, unit_cell, vegard_lattice
from aiida_mlip_autopipe.generation.supercells import check_composition, choose_repeats


class AlloySettings(GeneratorSettings):
    """A substitutional alloy."""

    kind: Literal['alloy'] = 'alloy'
    """Substitutional alloy."""
    composition: Composition
    """Fraction of each element, as {Cu: 0.5, Au: 0.5}; they sum to 1 within 0.002."""
    lattice: Lattice = 'fcc'
    """The lattice whose sites are shared."""
    a_A: PositiveFloat | None = None
    """Lattice constant in Å; by default from Vegard's law."""
    c_over_a: PositiveFloat | None = None
    """c/a of an hcp lattice; by default from Vegard's law too."""
    n_seeds: PositiveInt = 10
    """How many seeds to make, each from a random arrangement of its own unless `perturb.n_variants` shares it."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Repeats of the conventional cell (hcp: the hexagonal cell of two atoms)."""
    n_atoms: PositiveInt | None = None
    """Number of atoms wanted, in place of `supercell`: the nearest compact cell is taken. Without both, the smallest
    cell that is high enough for the calculator and holds the composition."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Largest deviation of a realised fraction from the one asked for. No element may be lost."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if self.supercell and self.n_atoms:
            raise ValueError('give supercell or n_atoms, not both')
        if self.c_over_a and self.lattice != 'hcp':
            raise ValueError(f'c_over_a belongs to the hcp lattice, not to {self.lattice}')
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements of the composition."""
        return frozenset(self.composition)


class AlloyGenerator(Generator):
    """Random solid solutions."""

    settings_class = AlloySettings
    settings: AlloySettings

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return the lattice with the elements in a random arrangement."""
        settings = self.settings
        template, repeats, a_A, c_over_a = _template(settings, requirements)
        atoms = template.copy()
        counts = realise_counts(settings.composition, len(atoms))
        symbols = np.repeat(list(counts), list(counts.values()))
        atoms.set_chemical_symbols(rng.permutation(symbols).tolist())
        record = {
            'lattice': settings.lattice,
            'a_A': a_A,
            'supercell': list(repeats),
            'composition': {symbol: count / len(atoms) for symbol, count in counts.items()},
        }
        if settings.lattice == 'hcp':
            record['c_over_a'] = c_over_a
        # A repeated arrangement would no longer be random: the cell is chosen large enough beforehand or refused.
        return Parent(atoms, record, repeatable=(False, False, False))


def _template(settings: AlloySettings, requirements: Requirements) -> tuple[Atoms, tuple[int, int, int], float, float]:
    """Return the empty lattice, its repeats, and its constants."""
    key = settings.model_dump_json(exclude={'n_seeds', 'label', 'perturb', 'validation', 'magnetic_moments'})
    return _make_template(key, requirements)


@lru_cache(maxsize=64)
def _make_template(key: str, requirements: Requirements) -> tuple[Atoms, tuple[int, int, int], float, float]:
    settings = AlloySettings.model_validate_json(key)
    a_A, c_over_a = vegard_lattice(settings.composition, settings.lattice)
    a_A, c_over_a = settings.a_A or a_A, settings.c_over_a or c_over_a
    cell = unit_cell(settings.lattice, a_A, c_over_a)
    repeats = settings.supercell
    if repeats is None:
        repeats = choose_repeats(
            cell, settings.composition, requirements,
            n_atoms=settings.n_atoms, tolerance=settings.composition_tolerance,
        )  # fmt: skip
    check_composition(settings.composition, int(np.prod(repeats)) * len(cell), settings.composition_tolerance)
    return cell.repeat(repeats), repeats, a_A, c_over_a

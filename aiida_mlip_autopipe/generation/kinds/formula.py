"""Crystals from a chemical formula: known structure types, and random crystals of any symmetry."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import cache, cached_property
from itertools import permutations, product
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Element, Formula
from aiida_mlip_autopipe.generation.chemistry.oxidation import (
    Guess,
    describe_states,
    guess_states,
    states_around,
)
from aiida_mlip_autopipe.generation.crystals.random_crystals import random_crystal
from aiida_mlip_autopipe.generation.crystals.volumes import estimate_volume
from aiida_mlip_autopipe.generation.limits import show_progress
from aiida_mlip_autopipe.generation.validation import CHARGE_TOLERANCE

N_SPACEGROUPS = 230
# Limits of the search for a balanced formula near an unbalanced one: atoms of each element, and number of formulas.
NEAR_COUNT = 6
N_NEAR = 500


class FormulaSettings(GeneratorSettings):
    """Crystals of a chemical formula."""

    kind: Literal['formula'] = 'formula'
    """Crystals of a chemical formula."""
    formula: Formula
    """The formula, such as Fe2O3."""
    max_prototypes: int = Field(default=20, ge=0)
    """Maximum number of structure types, the smallest cells first; 0 for none."""
    n_random: int = Field(default=5, ge=0)
    """Number of random crystals."""
    formula_units: tuple[PositiveInt, ...] = (1, 2, 4)
    """Numbers of formula units in the cell of a random crystal. One of them is drawn for each crystal."""
    spacegroups: tuple[Annotated[int, Field(ge=1, le=N_SPACEGROUPS)], ...] = ()
    """Space groups for random crystals. One is drawn for each crystal; by default, from all that allow the formula,
    except P1."""
    oxidation_states: dict[Element, float] = Field(default_factory=dict)
    """Oxidation state of each element, or its mean for mixed valence; by default guessed. Metals have none."""
    volume_A3: PositiveFloat | None = None
    """Volume of a formula unit in Å³; by default estimated from the ions, or from the atoms of a metal."""

    # Some structure types with this stoichiometry do not suit the ions. They are skipped and counted in the report.
    default_on_failure: ClassVar[str] = 'skip'

    @model_validator(mode='after')
    def _check(self) -> Self:
        if not self.max_prototypes and not self.n_random:
            raise fault(Code.VALUES_INCOMPLETE, 'set max_prototypes or n_random above 0')
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements of the formula."""
        from pymatgen.core import Composition

        return frozenset(element.symbol for element in Composition(self.formula))


class FormulaGenerator(Generator):
    """Makes known structure types of the formula, then random crystals."""

    settings_class = FormulaSettings
    settings: FormulaSettings

    @cached_property
    def _counts(self) -> dict[str, int]:
        from pymatgen.core import Composition

        reduced = Composition(self.settings.formula).reduced_composition
        return {str(element): int(amount) for element, amount in reduced.items()}

    @cached_property
    def _guess(self) -> Guess:
        """The oxidation states, from the user or guessed; empty for metals and pure elements."""
        from pymatgen.core import Composition

        counts, from_user = self._counts, self.settings.oxidation_states
        if from_user:
            total = sum(from_user.get(symbol, 0) * count for symbol, count in counts.items())
            if set(from_user) != set(counts) or abs(total) > CHARGE_TOLERANCE:
                hint = self._nearest_formula(lambda found: not sum(from_user.get(s, 0) * n for s, n in found.items()))
                listed = ', '.join(f'{symbol}: {state:g}' for symbol, state in from_user.items())
                raise AutopipeError(
                    Code.CHARGE_UNBALANCED,
                    f'oxidation_states must balance {self.settings.formula} and contain {", ".join(counts)}; '
                    f'{{{listed}}} leaves {total:+g} e{hint}',
                )
            return Guess({symbol: _fractions(symbol, mean) for symbol, mean in from_user.items()})
        states = guess_states(counts)
        if not states:
            hint = self._nearest_formula(lambda found: bool(Composition(found).oxi_state_guesses(max_sites=-1)))
            raise AutopipeError(
                Code.CHARGE_UNBALANCED,
                f'no oxidation states balance {self.settings.formula}{hint}; set oxidation_states, '
                'with 0 for all elements if the compound is not ionic',
            )
        return states

    @cached_property
    def _states(self) -> dict[str, float]:
        """The mean oxidation state of each element."""
        return self.settings.oxidation_states or self._guess.means

    def _nearest_formula(self, balances: Callable[[dict[str, int]], bool]) -> str:
        """Return the nearest balanced formula of the same elements in parentheses, or an empty string."""
        from pymatgen.core import Composition

        target = np.array(list(self._counts.values())) / sum(self._counts.values())
        known = product(range(1, NEAR_COUNT + 1), repeat=len(target))
        near = sorted(
            (numbers for numbers in known if np.gcd.reduce(numbers) == 1),
            key=lambda numbers: (float(np.abs(np.array(numbers) / sum(numbers) - target).sum()), sum(numbers)),
        )
        for numbers in near[:N_NEAR]:
            show_progress('search for a balanced formula')
            counts = dict(zip(self._counts, numbers, strict=True))
            if balances(counts):
                return f' ({Composition(counts).reduced_formula} is balanced)'
        return ''

    @cached_property
    def volume(self) -> float:
        """Volume of a formula unit in Å³."""
        if self.settings.volume_A3:
            return self.settings.volume_A3
        return estimate_volume(self._counts, self._guess)

    @cached_property
    def _prototypes(self) -> list[tuple[str, Atoms]]:
        return self._all_prototypes[: self.settings.max_prototypes]

    @cached_property
    def _all_prototypes(self) -> list[tuple[str, Atoms]]:
        if not self.settings.max_prototypes:
            return []
        found = []
        for name, species, cell in prototypes(tuple(sorted(self._counts.values()))):
            for order in permutations(self._counts):
                if all(self._counts[symbol] == count for symbol, count in zip(order, species.values(), strict=True)):
                    renamed = dict(zip(species, order, strict=True))
                    atoms = cell.copy()
                    atoms.set_chemical_symbols([renamed[symbol] for symbol in cell.get_chemical_symbols()])
                    found.append((name, atoms))
        return sorted(found, key=lambda item: len(item[1]))

    def notes(self) -> list[str]:
        """Return how many structure types are left out, or that there are none."""
        n_found, limit = len(self._all_prototypes), self.settings.max_prototypes
        if limit and not n_found:
            return [f'no structure type of {self.settings.formula} is known']
        left_out = n_found - len(self._prototypes)
        return [f'max_prototypes leaves out {left_out} of {counted(n_found, "structure type")}'] if left_out else []

    def check(self, requirements: Requirements) -> None:
        """Refuse an entry without random crystals whose formula has no known structure type."""
        if self.n_parents() == 0:
            raise AutopipeError(
                Code.PROTOTYPE_MISSING, f'no structure type of {self.settings.formula} is known; set n_random above 0'
            )

    def n_parents(self) -> int | None:
        """Return the number of structure types, or None if there are also random crystals."""
        return None if self.settings.n_random else len(self._prototypes)

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each structure type and each random crystal."""
        return (len(self._prototypes) + self.settings.n_random) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a structure type, or a random crystal after the last structure type."""
        if index < len(self._prototypes):
            name, atoms = self._prototypes[index]
            atoms = atoms.copy()
            record: dict[str, Any] = {'prototype': name}
        else:
            groups = self.settings.spacegroups or range(2, N_SPACEGROUPS + 1)
            atoms, group = random_crystal(self._counts, self.settings.formula_units, groups, rng)
            record = {'spacegroup': group}
        units = len(atoms) / sum(self._counts.values())
        scale = (self.volume * units / atoms.get_volume()) ** (1 / 3)
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        if self._states:
            atoms.set_initial_charges(_charges(atoms, self._guess.fractions, rng))
        record = {
            'formula': self.settings.formula,
            'oxidation_states': self._states,
            'alternative_states': [describe_states(states) for states in self._guess.alternatives],
            'volume_A3': self.volume,
            'formula_units': units,
            **record,
        }
        return Parent(atoms, record)


def _fractions(symbol: str, mean: float) -> dict[int, float]:
    """Return the fractions of the known states around a mean state."""
    low, high = states_around(symbol, mean)
    if low == high:
        return {low: 1.0}
    return {low: (high - mean) / (high - low), high: (mean - low) / (high - low)}


def _charges(atoms: Atoms, fractions: dict[str, dict[int, float]], rng: np.random.Generator) -> np.ndarray:
    """Return charges with the given fractions of the states of each element.

    Two states are assigned to the atoms at random. If the cell has too few atoms for the fractions, all have the mean.
    """
    charges = np.zeros(len(atoms))
    for symbol, parts in fractions.items():
        sites = np.flatnonzero(atoms.symbols == symbol)
        charges[sites] = sum(state * part for state, part in parts.items())
        if len(parts) == 1:
            continue
        low, high = sorted(parts)
        n_high = parts[high] * len(sites)
        if abs(n_high - round(n_high)) < CHARGE_TOLERANCE:
            charges[sites] = low
            charges[rng.choice(sites, round(n_high), replace=False)] = high
    return charges


@cache
def prototypes(counts: tuple[int, ...]) -> list[tuple[str, dict[str, int], Atoms]]:
    """Return the structure types whose formula has these numbers of atoms.

    They are from pymatgen's copy of the AFLOW library: M. J. Mehl et al., Comput. Mater. Sci. 136, S1 (2017).

    Returns
    -------
    list
        Name, number of atoms of each species in the reduced formula, and cell.
    """
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    found = []
    for entry in _library():
        structure = Structure.from_dict(entry['snl'])
        reduced = {str(e): int(amount) for e, amount in structure.composition.reduced_composition.items()}
        if tuple(sorted(reduced.values())) == counts:
            atoms = AseAtomsAdaptor.get_atoms(structure)
            cell = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=True)
            found.append((str(entry['tags']['aflow']), reduced, cell))
    return found


@cache
def _library() -> list[dict[str, Any]]:
    """Return the library as plain JSON. In pymatgen, its import takes seconds, because all references are parsed."""
    import pymatgen.analysis

    (folder,) = (path for path in pymatgen.analysis.__path__ if (Path(path) / 'prototypes').is_dir())
    with gzip.open(Path(folder) / 'prototypes' / 'aflow_prototypes.json.gz', 'rt', encoding='utf8') as file:
        return list(json.load(file))


VARIANT = FormulaGenerator

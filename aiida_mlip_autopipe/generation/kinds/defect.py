"""Point defects in the structures of any other kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Element, check_symbol
from aiida_mlip_autopipe.generation.chemistry.oxidation import known_states
from aiida_mlip_autopipe.generation.geometry.distinct_sites import NEIGHBOUR_FACTOR, SymmetrySites
from aiida_mlip_autopipe.generation.geometry.voids import find_voids
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.structures.seed import fixed_mask

N_RANDOM_SEEDS = 10
NOT_REPEATED = (False, False, False)
MAX_SHIFT = 0.1  # Å between a place and its atom


def _check_amount(amount: float) -> float:
    if amount >= 1 and amount != int(amount):
        raise fault(Code.VALUE_INVALID, 'must be a whole number of atoms, or a share below 1')
    return amount


def _check_pairs(pairs: dict[str, float]) -> dict[str, float]:
    for pair in pairs:
        symbols = pair.split('-')
        if len(symbols) != 2:
            raise fault(Code.WRONG_PATTERN, f"{pair!r} is not a pair of elements, as 'Ga-As'")
        for symbol in symbols:
            check_symbol(symbol)
    return pairs


Amount = Annotated[PositiveFloat, AfterValidator(_check_amount)]
Pairs = Annotated[dict[str, Amount], AfterValidator(_check_pairs)]


class DefectSettings(ComposedSettings):
    """Point defects; all of one entry are in every seed."""

    kind: Literal['defect'] = 'defect'
    """Point defects."""
    vacancies: dict[Element, Amount] = Field(default_factory=dict)
    """Atoms of each element left out: a whole number, or a share below 1 of the element's atoms."""
    divacancies: Pairs = Field(default_factory=dict)
    """Neighbouring pairs left out, as {Cu-Cu: 1}."""
    substitutions: dict[Element, dict[Element, Amount]] = Field(default_factory=dict)
    """Atoms of an element replaced by others, as {Cu: {Au: 2}}."""
    antisites: Pairs = Field(default_factory=dict)
    """Pairs of atoms of two elements that change places, as {Ga-As: 1}."""
    interstitials: dict[Element, Amount] = Field(default_factory=dict)
    """Atoms of each element put into the largest voids: a whole number, or a share below 1 of the structure's atoms."""
    sites: Literal['random', 'distinct'] = 'random'
    """Draw the sites anew in each seed, or make each symmetry-distinct place of one single defect in turn."""
    oxidation_states: dict[Element, int] = Field(default_factory=dict)
    """Formal charge of atoms that come in, where formal charges are known; by default that of the element's atoms
    there, else its most common state of the sign of the site."""
    charged: bool = False
    """Allow defects that leave a formal charge; it is recorded."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if not any([self.vacancies, self.divacancies, self.substitutions, self.antisites, self.interstitials]):
            raise fault(
                Code.VALUES_INCOMPLETE, 'give vacancies, divacancies, substitutions, antisites or interstitials'
            )
        if self.sites == 'distinct' and self.single is None:
            raise fault(
                Code.VALUE_INVALID,
                'sites: distinct needs exactly one defect, as vacancies: {Cu: 1}; set sites: random for more',
            )
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements of the host and those that come in."""
        return super().elements().union(*self.substitutions.values(), self.interstitials)

    @property
    def single(self) -> tuple[str, str] | None:
        """The field and the element or pair of the defect, if it is one single one."""
        fields: dict[str, Mapping[str, float]] = {
            'vacancies': self.vacancies,
            'divacancies': self.divacancies,
            'substitutions': {old: sum(new.values()) for old, new in self.substitutions.items()},
            'antisites': self.antisites,
            'interstitials': self.interstitials,
        }
        amounts = {(name, key): amount for name, given in fields.items() for key, amount in given.items()}
        return next(iter(amounts)) if list(amounts.values()) == [1] else None


class DefectGenerator(ComposedGenerator):
    """Puts defects on sites of the inner kind's structures, which are taken in turn."""

    settings_class = DefectSettings
    settings: DefectSettings

    @cached_property
    def _places(self) -> list[tuple[int, np.ndarray]]:
        """Host and positions of each distinct place of a single defect, before the hosts are repeated."""
        if self.inner.n_parents() is None:
            kind = self.settings.of.kind
            raise AutopipeError(
                Code.HOST_UNSUITABLE, f'{kind} draws each crystal anew, which has no distinct sites: take sites: random'
            )
        places = []
        for number in range(self.inner.n_parents() or 0):
            host = self.inner_parent(number, make_rng(0, 'sites'), Requirements()).atoms
            places += [(number, place) for place in self._places_in(host)]
        return places

    def _places_in(self, host: Atoms) -> list[np.ndarray]:
        name, key = self.settings.single or ('', '')
        found = SymmetrySites(host)
        if name == 'interstitials':
            places = found.voids()
        elif name in ('vacancies', 'substitutions'):
            places = found.atoms_of(key)
        else:
            first, second = key.split('-')
            places = found.pairs(first, second)
        if not places:
            raise AutopipeError(Code.SITE_MISSING, f'{host.get_chemical_formula()} has no place for {name} of {key}')
        return places

    def n_parents(self) -> int | None:
        """Return the number of distinct places; None where sites are random."""
        return len(self._places) if self.settings.sites == 'distinct' else None

    def default_n_seeds(self) -> int:
        """Return ten arrangements, or one of each structure where there are more; one of each distinct place."""
        if self.settings.sites == 'distinct':
            return super().default_n_seeds()
        return max(N_RANDOM_SEEDS, self.inner.n_parents() or 0) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a structure with its defects."""
        settings = self.settings
        number, place = self._places[index] if settings.sites == 'distinct' else (index, None)
        host = self.inner_parent(number, rng, requirements)
        atoms = host.atoms.copy()
        free = ~fixed_mask(atoms)
        given = None if place is None or settings.interstitials else _atoms_at(atoms, place)
        # Interstitials first: the voids are those of the perfect structure.
        added = {symbol: _number(amount, len(atoms)) for symbol, amount in settings.interstitials.items()}
        voids = _draw_voids(atoms, sum(added.values()), rng) if added and place is None else place
        record: dict[str, Any] = {}
        for symbol, replacements in settings.substitutions.items():
            for new, amount in replacements.items():
                sites = _draw(atoms, free, symbol, amount, rng) if given is None else given
                self._replace(atoms, sites, new)
                free[sites] = False
                record.setdefault('substitutions', {})[f'{symbol}-{new}'] = len(sites)
        for pair, amount in settings.antisites.items():
            record.setdefault('antisites', {})[pair] = _swap(atoms, free, pair, amount, rng, given)
        gone: list[int] = []
        for pair, amount in settings.divacancies.items():
            found = _draw_pairs(atoms, free, pair, amount, rng) if given is None else given.tolist()
            gone += found
            record.setdefault('divacancies', {})[pair] = len(found) // 2
        for symbol, amount in settings.vacancies.items():
            sites = _draw(atoms, free, symbol, amount, rng) if given is None else given
            gone += sites.tolist()
            free[sites] = False
            record.setdefault('vacancies', {})[symbol] = len(sites)
        if len(gone) >= len(atoms):
            raise AutopipeError(
                Code.TOO_MANY_DEFECTS, f'the vacancies would leave no atom of {atoms.get_chemical_formula()}'
            )
        charges = _charge_of_elements(atoms)
        del atoms[gone]
        if added and voids is not None:
            self._insert(atoms, [symbol for symbol, number in added.items() for _ in range(number)], voids, charges)
            record['interstitials'] = added
        charge = float(atoms.get_initial_charges().sum())
        record = {'of': {'kind': settings.of.kind, **host.record}, **record, 'formal_charge': charge}
        return replace(
            host,
            atoms=atoms,
            record=record,
            repeatable=NOT_REPEATED,
            charge_allowed=host.charge_allowed or settings.charged,
        )

    def _replace(self, atoms: Atoms, sites: np.ndarray, symbol: str) -> None:
        """Put an element on sites; where formal charges are known it brings its own."""
        old = atoms.get_initial_charges()
        if old.any():
            present = _charge_of_elements(atoms)
            for site in sites:
                sign = -1 if old[site] < 0 else 1
                here = present.get(symbol, 0.0)
                old[site] = self._state(symbol, sign, here if here * sign > 0 else 0.0)
            atoms.set_initial_charges(old)
        atoms.symbols[sites] = symbol

    def _insert(self, atoms: Atoms, symbols: list[str], places: np.ndarray, charges: dict[str, float]) -> None:
        added = Atoms(symbols, positions=places)
        if charges:
            added.set_initial_charges([self._state(symbol, 1, charges.get(symbol, 0.0)) for symbol in symbols])
        atoms += added

    def _state(self, symbol: str, sign: int, here: float) -> float:
        """Return the charge of an atom that comes in: given, that of the element's atoms here, or a common one."""
        if symbol in self.settings.oxidation_states or here:
            return self.settings.oxidation_states.get(symbol, here)
        states = known_states(symbol, sign, common=True) or known_states(symbol, -sign, common=True)
        return states[0] if states else 0


def _number(amount: float, available: int) -> int:
    """Return a number of sites from a number or a share; a share gives at least one."""
    return int(amount) if amount >= 1 else max(1, round(amount * available))


def _draw(atoms: Atoms, free: np.ndarray, symbol: str, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Return random free sites of an element."""
    sites = np.flatnonzero((atoms.symbols == symbol) & free)
    number = _number(amount, len(sites))
    if number > len(sites):
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'{number} defects of {symbol} do not fit: {atoms.get_chemical_formula()} has {len(sites)} free ones',
        )
    return np.sort(rng.choice(sites, number, replace=False))


def _atoms_at(atoms: Atoms, places: np.ndarray) -> np.ndarray:
    """Return the atoms at positions, which are those of the structure before it was repeated."""
    from ase.geometry import get_distances

    distances = get_distances(places, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1]
    found = distances.argmin(axis=1)
    if distances.min(axis=1).max() > MAX_SHIFT or len(set(found)) < len(places):
        raise AutopipeError(
            Code.CELL_TOO_SMALL,
            f'the defect does not fit into {atoms.get_chemical_formula()}: its atoms are one with their own images; '
            'take a larger supercell',
        )
    return np.asarray(found)


def _swap(
    atoms: Atoms, free: np.ndarray, pair: str, amount: float, rng: np.random.Generator, given: np.ndarray | None
) -> int:
    """Exchange the elements (with their charges and moments) of two given or of random sites; return how many pairs."""
    first, second = pair.split('-')
    one = _draw(atoms, free, first, amount, rng) if given is None else given[:1]
    other = _draw(atoms, free, second, len(one), rng) if given is None else given[1:]
    for name in ('numbers', 'initial_charges', 'initial_magmoms', 'tags'):
        if atoms.has(name):
            values = atoms.arrays[name]
            values[one], values[other] = values[other].copy(), values[one].copy()
    free[one] = free[other] = False
    return len(one)


def _draw_pairs(atoms: Atoms, free: np.ndarray, pair: str, amount: float, rng: np.random.Generator) -> list[int]:
    """Return the atoms of random pairs of neighbours."""
    first, second = pair.split('-')
    chosen: list[int] = []
    for _ in range(_number(amount, int(np.sum(atoms.symbols == first)))):
        ones = np.flatnonzero((atoms.symbols == first) & free)
        others = np.flatnonzero((atoms.symbols == second) & free)
        if not len(ones) or not len(others) or (first == second and len(ones) < 2):
            raise AutopipeError(
                Code.TOO_MANY_DEFECTS, f'{atoms.get_chemical_formula()} has no free pair {pair} left for a divacancy'
            )
        one = int(rng.choice(ones))
        others = others[others != one]
        distances = atoms.get_distances(one, others, mic=True)
        near = others[distances <= NEIGHBOUR_FACTOR * distances.min()]
        other = int(rng.choice(near))
        free[[one, other]] = False
        chosen += [one, other]
    return chosen


def _draw_voids(atoms: Atoms, number: int, rng: np.random.Generator) -> np.ndarray:
    voids = find_voids(atoms)
    if number > len(voids):
        raise PhysicsViolationError(
            'interstitial', (), float(number), float(len(voids)),
            f'{number} interstitials do not fit into the {len(voids)} voids of {atoms.get_chemical_formula()}',
        )  # fmt: skip
    return np.asarray(voids[rng.choice(len(voids), number, replace=False)])


def _charge_of_elements(atoms: Atoms) -> dict[str, float]:
    """Return the most frequent formal charge of each element; empty where none is known."""
    charges = atoms.get_initial_charges()
    if not charges.any():
        return {}
    found = {}
    for symbol in sorted(set(atoms.get_chemical_symbols())):
        values, counts = np.unique(charges[atoms.symbols == symbol], return_counts=True)
        found[symbol] = float(values[counts.argmax()])
    return found


VARIANT = DefectGenerator

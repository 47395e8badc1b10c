"""Point defects in the structures of another entry."""

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
from aiida_mlip_autopipe.generation.validation import ValidationSettings
from aiida_mlip_autopipe.structures.seed import fixed_mask

N_RANDOM_SEEDS = 10
NOT_REPEATED = (False, False, False)
MAX_SHIFT = 0.1  # Å; maximum distance between a site and its atom


def _check_amount(amount: float) -> float:
    if amount >= 1 and amount != int(amount):
        raise fault(Code.VALUE_INVALID, 'must be a whole number of atoms, or a fraction below 1')
    return amount


def _check_pairs(pairs: dict[str, float]) -> dict[str, float]:
    for pair in pairs:
        symbols = pair.split('-')
        if len(symbols) != 2:
            raise fault(Code.WRONG_PATTERN, f"{pair!r} is not a pair of elements such as 'Ga-As'")
        for symbol in symbols:
            check_symbol(symbol)
    return pairs


Amount = Annotated[PositiveFloat, AfterValidator(_check_amount)]
Pairs = Annotated[dict[str, Amount], AfterValidator(_check_pairs)]


class DefectSettings(ComposedSettings):
    """Point defects. Every seed has all defects of the entry."""

    kind: Literal['defect'] = 'defect'
    """Point defects."""
    vacancies: dict[Element, Amount] = Field(default_factory=dict)
    """Number of atoms to remove, by element, or a fraction (below 1) of the atoms of the element."""
    divacancies: Pairs = Field(default_factory=dict)
    """Number of pairs of neighbouring atoms to remove, such as {Cu-Cu: 1}."""
    substitutions: dict[Element, dict[Element, Amount]] = Field(default_factory=dict)
    """Number of atoms of an element to replace by other elements, such as {Cu: {Au: 2}}."""
    antisites: Pairs = Field(default_factory=dict)
    """Number of pairs of atoms of two elements to exchange, such as {Ga-As: 1}."""
    interstitials: dict[Element, Amount] = Field(default_factory=dict)
    """Number of atoms to insert into the largest voids, by element, or a fraction (below 1) of all atoms."""
    sites: Literal['random', 'distinct'] = 'random'
    """Use random sites in each seed, or each symmetry-distinct site in turn. `distinct` needs exactly one defect."""
    oxidation_states: dict[Element, int] = Field(default_factory=dict)
    """Oxidation states of added atoms, used if the structure has formal charges. By default an added atom has the
    charge of the atoms of its element in the structure, or else its most common state with the sign of the site."""
    charged: bool = False
    """Allow defects that leave a net formal charge; the charge is recorded."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if not any([self.vacancies, self.divacancies, self.substitutions, self.antisites, self.interstitials]):
            raise fault(Code.VALUES_INCOMPLETE, 'set vacancies, divacancies, substitutions, antisites or interstitials')
        if self.sites == 'distinct' and self.single is None:
            raise fault(
                Code.VALUE_INVALID,
                'sites: distinct needs exactly one defect, such as vacancies: {Cu: 1}; otherwise set sites: random',
            )
        return self

    @property
    def rules(self) -> ValidationSettings:
        """The validation rules. By default a distinct site that violates one is skipped, as it has no other draw."""
        if self.sites == 'distinct' and self.validation.on_failure is None:
            return super().rules.model_copy(update={'on_failure': 'skip'})
        return super().rules

    def elements(self) -> frozenset[str]:
        """Return the elements of the host and of the added atoms."""
        return super().elements().union(*self.substitutions.values(), self.interstitials)

    @property
    def single(self) -> tuple[str, str] | None:
        """The field and the element or pair of the defect, if there is exactly one."""
        fields: dict[str, Mapping[str, float]] = {
            'vacancies': self.vacancies,
            'divacancies': self.divacancies,
            'substitutions': {old: sum(new.values()) for old, new in self.substitutions.items()},
            'antisites': self.antisites,
            'interstitials': self.interstitials,
        }
        amounts = {(name, key): amount for name, by_key in fields.items() for key, amount in by_key.items()}
        return next(iter(amounts)) if list(amounts.values()) == [1] else None


class DefectGenerator(ComposedGenerator):
    """Adds defects to the structures of the inner entry, taken in turn."""

    settings_class = DefectSettings
    settings: DefectSettings

    @cached_property
    def _distinct_sites(self) -> list[tuple[int, np.ndarray]]:
        """The index of the host and the positions of each distinct site, before the hosts are repeated."""
        if self.inner.n_parents() is None:
            kind = self.settings.of.kind
            raise AutopipeError(
                Code.HOST_UNSUITABLE,
                f'the structures of {kind} are random, so their distinct sites cannot be listed; set sites: random',
            )
        sites = []
        for number in range(self.inner.n_parents() or 0):
            host = self.inner_parent(number, make_rng(0, 'sites'), Requirements()).atoms
            sites += [(number, site) for site in self._sites_in(host)]
        return sites

    def _sites_in(self, host: Atoms) -> list[np.ndarray]:
        name, key = self.settings.single or ('', '')
        found = SymmetrySites(host)
        if name == 'interstitials':
            sites = found.voids()
        elif name in ('vacancies', 'substitutions'):
            sites = found.atoms_of(key)
        else:
            first, second = key.split('-')
            sites = found.pairs(first, second)
        if not sites:
            raise AutopipeError(Code.SITE_MISSING, f'{host.get_chemical_formula()} has no site for {name} of {key}')
        return sites

    def n_parents(self) -> int | None:
        """Return the number of distinct sites, or None if the sites are random."""
        return len(self._distinct_sites) if self.settings.sites == 'distinct' else None

    def default_n_seeds(self) -> int:
        """Return one per distinct site; for random sites ten, or the number of hosts if that is larger."""
        if self.settings.sites == 'distinct':
            return super().default_n_seeds()
        return max(N_RANDOM_SEEDS, self.inner.n_parents() or 0) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a structure with its defects."""
        settings = self.settings
        number, positions = self._distinct_sites[index] if settings.sites == 'distinct' else (index, None)
        host = self.inner_parent(number, rng, requirements)
        atoms = host.atoms.copy()
        free = ~fixed_mask(atoms)
        chosen_sites = None if positions is None or settings.interstitials else _atoms_at(atoms, positions)
        # Find the voids first, in the perfect structure.
        added = {symbol: _n_sites(amount, len(atoms)) for symbol, amount in settings.interstitials.items()}
        voids = _draw_voids(atoms, sum(added.values()), rng) if added and positions is None else positions
        record: dict[str, Any] = {}
        for symbol, replacements in settings.substitutions.items():
            for new, amount in replacements.items():
                sites = _draw_sites(atoms, free, symbol, amount, rng) if chosen_sites is None else chosen_sites
                self._replace(atoms, sites, new)
                free[sites] = False
                record.setdefault('substitutions', {})[f'{symbol}-{new}'] = len(sites)
        for pair, amount in settings.antisites.items():
            record.setdefault('antisites', {})[pair] = _swap(atoms, free, pair, amount, rng, chosen_sites)
        removed: list[int] = []
        for pair, amount in settings.divacancies.items():
            found = _draw_pairs(atoms, free, pair, amount, rng) if chosen_sites is None else chosen_sites.tolist()
            removed += found
            record.setdefault('divacancies', {})[pair] = len(found) // 2
        for symbol, amount in settings.vacancies.items():
            sites = _draw_sites(atoms, free, symbol, amount, rng) if chosen_sites is None else chosen_sites
            removed += sites.tolist()
            free[sites] = False
            record.setdefault('vacancies', {})[symbol] = len(sites)
        if len(removed) >= len(atoms):
            raise AutopipeError(
                Code.TOO_MANY_DEFECTS, f'the vacancies would remove all atoms of {atoms.get_chemical_formula()}'
            )
        charges = _charge_of_elements(atoms)
        del atoms[removed]
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
        """Put an element on sites. If formal charges are known, also set the charge of the element."""
        old = atoms.get_initial_charges()
        if old.any():
            present = _charge_of_elements(atoms)
            for site in sites:
                sign = -1 if old[site] < 0 else 1
                charge = present.get(symbol, 0.0)
                old[site] = self._state(symbol, sign, charge if charge * sign > 0 else 0.0)
            atoms.set_initial_charges(old)
        atoms.symbols[sites] = symbol

    def _insert(self, atoms: Atoms, symbols: list[str], positions: np.ndarray, charges: dict[str, float]) -> None:
        added = Atoms(symbols, positions=positions)
        if charges:
            added.set_initial_charges([self._state(symbol, 1, charges.get(symbol, 0.0)) for symbol in symbols])
        atoms += added

    def _state(self, symbol: str, sign: int, present: float) -> float:
        """Return the charge of an added atom: from the settings, from atoms of its element, or a common state."""
        if symbol in self.settings.oxidation_states or present:
            return self.settings.oxidation_states.get(symbol, present)
        states = known_states(symbol, sign, common=True) or known_states(symbol, -sign, common=True)
        return states[0] if states else 0


def _n_sites(amount: float, available: int) -> int:
    """Return the number of sites for a number or a fraction. A fraction gives at least one site."""
    return int(amount) if amount >= 1 else max(1, round(amount * available))


def _draw_sites(atoms: Atoms, free: np.ndarray, symbol: str, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Return random free sites of an element."""
    sites = np.flatnonzero((atoms.symbols == symbol) & free)
    number = _n_sites(amount, len(sites))
    if number > len(sites):
        formula = atoms.get_chemical_formula()
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'{number} defects of {symbol} do not fit: {formula} has {len(sites)} free {symbol} atoms',
        )
    return np.sort(rng.choice(sites, number, replace=False))


def _atoms_at(atoms: Atoms, positions: np.ndarray) -> np.ndarray:
    """Return the indices of the atoms at positions that were found before repetition."""
    from ase.geometry import get_distances

    distances = get_distances(positions, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1]
    found = distances.argmin(axis=1)
    if distances.min(axis=1).max() > MAX_SHIFT or len(set(found)) < len(positions):
        raise AutopipeError(
            Code.CELL_TOO_SMALL,
            f'the defect does not fit into {atoms.get_chemical_formula()}: it overlaps its periodic images; '
            'use a larger supercell',
        )
    return np.asarray(found)


def _swap(
    atoms: Atoms, free: np.ndarray, pair: str, amount: float, rng: np.random.Generator, chosen_sites: np.ndarray | None
) -> int:
    """Exchange the atoms of specified or random pairs of sites, with charges, moments and tags; return their number."""
    first, second = pair.split('-')
    one = _draw_sites(atoms, free, first, amount, rng) if chosen_sites is None else chosen_sites[:1]
    other = _draw_sites(atoms, free, second, len(one), rng) if chosen_sites is None else chosen_sites[1:]
    for name in ('numbers', 'initial_charges', 'initial_magmoms', 'tags'):
        if atoms.has(name):
            values = atoms.arrays[name]
            values[one], values[other] = values[other].copy(), values[one].copy()
    free[one] = free[other] = False
    return len(one)


def _draw_pairs(atoms: Atoms, free: np.ndarray, pair: str, amount: float, rng: np.random.Generator) -> list[int]:
    """Return the atoms of random pairs of neighbours, one pair after the other."""
    first, second = pair.split('-')
    chosen: list[int] = []
    for _ in range(_n_sites(amount, int(np.sum(atoms.symbols == first)))):
        ones = np.flatnonzero((atoms.symbols == first) & free)
        others = np.flatnonzero((atoms.symbols == second) & free)
        if not len(ones) or not len(others) or (first == second and len(ones) < 2):
            raise AutopipeError(
                Code.TOO_MANY_DEFECTS, f'{atoms.get_chemical_formula()} has no free {pair} pair left for a divacancy'
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
    """Return the most frequent formal charge of each element, or an empty dict if charges are unknown."""
    charges = atoms.get_initial_charges()
    if not charges.any():
        return {}
    found = {}
    for symbol in sorted(set(atoms.get_chemical_symbols())):
        values, counts = np.unique(charges[atoms.symbols == symbol], return_counts=True)
        found[symbol] = float(values[counts.argmax()])
    return found


VARIANT = DefectGenerator

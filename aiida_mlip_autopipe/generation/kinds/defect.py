"""Point defects in the structures of another entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.added_ions import AddedIons, charge_of_elements
from aiida_mlip_autopipe.generation.chemistry.charge_transfer import TOLERANCE
from aiida_mlip_autopipe.generation.chemistry.counter_defects import (
    HOST_INDEX,
    Compensation,
    CounterDefect,
    DefectCharge,
    mark_host,
)
from aiida_mlip_autopipe.generation.chemistry.elements import Element, check_pair
from aiida_mlip_autopipe.generation.chemistry.oxidation import guess_charges
from aiida_mlip_autopipe.generation.defects.distinct_sites import SymmetrySites
from aiida_mlip_autopipe.generation.defects.dumbbells import (
    Axis,
    Direction,
    Dumbbell,
    dumbbell_axes,
    dumbbell_length,
    split_sites,
)
from aiida_mlip_autopipe.generation.defects.site_draws import (
    atoms_at,
    draw_interstitial_sites,
    draw_pairs,
    draw_sites,
    n_sites,
    swap_sites,
)
from aiida_mlip_autopipe.generation.defects.vacancy_clusters import describe_cluster, distinct_clusters, draw_cluster
from aiida_mlip_autopipe.generation.nested import ComposedGenerator, ComposedSettings
from aiida_mlip_autopipe.generation.validation import ValidationSettings
from aiida_mlip_autopipe.structures.seed import fixed_mask

N_RANDOM_SEEDS = 10
NOT_REPEATED = (False, False, False)
DEFECTS = (
    'vacancies', 'divacancies', 'vacancy_clusters', 'substitutions', 'antisites', 'interstitials', 'dumbbells',
)  # fmt: skip


def _check_amount(amount: float) -> float:
    if amount >= 1 and amount != int(amount):
        raise fault(Code.VALUE_INVALID, 'must be a whole number of atoms, or a fraction below 1')
    return amount


def _check_cluster(counts: dict[str, int]) -> dict[str, int]:
    if sum(counts.values()) < 2:
        raise fault(Code.VALUE_INVALID, 'a cluster has at least two vacancies; set vacancies for single ones')
    return counts


def _check_direction(direction: Direction) -> Direction:
    if not any(direction):
        raise fault(Code.VALUE_INVALID, '0 0 0 is not a direction; a valid value is 1 1 0')
    return direction


Amount = Annotated[PositiveFloat, AfterValidator(_check_amount)]
Pairs = dict[Annotated[str, AfterValidator(check_pair)], Amount]
Cluster = Annotated[dict[Element, PositiveInt], AfterValidator(_check_cluster)]


class DefectSettings(ComposedSettings):
    """Point defects. Every seed has all defects of the entry."""

    kind: Literal['defect'] = 'defect'
    """Point defects."""
    vacancies: dict[Element, Amount] = Field(default_factory=dict)
    """Number of atoms to remove, by element, or a fraction (below 1) of the atoms of the element."""
    divacancies: Pairs = Field(default_factory=dict)
    """Number of pairs of neighbouring atoms to remove, such as {Cu-Cu: 1}."""
    vacancy_clusters: tuple[Cluster, ...] = ()
    """Compact clusters of vacancies, each with its number of vacancies by element, such as [{Cu: 3}, {Mg: 2, O: 2}]."""
    substitutions: dict[Element, dict[Element, Amount]] = Field(default_factory=dict)
    """Number of atoms of an element to replace by other elements, such as {Cu: {Au: 2}}."""
    antisites: Pairs = Field(default_factory=dict)
    """Number of pairs of atoms of two elements to exchange, such as {Ga-As: 1}."""
    interstitials: dict[Element, Amount] = Field(default_factory=dict)
    """Number of atoms to insert into the largest voids and octahedral sites, by element, or a fraction (below 1) of all
    atoms."""
    dumbbells: Pairs = Field(default_factory=dict)
    """Number of dumbbells, such as {Fe-Fe: 1} or {Fe-Cr: 1}: an atom of the second element is added and shares the site
    of an atom of the first."""
    dumbbell_directions: tuple[Annotated[Direction, AfterValidator(_check_direction)], ...] = ()
    """Directions of the dumbbells in the conventional cell; equivalent directions are included. By default [1, 0, 0] in
    fcc, [1, 1, 0] and [1, 1, 1] in bcc, [0, 0, 1] and [1, 0, 0] in hcp, and [1, 1, 0] in diamond."""
    dumbbell_length_A: PositiveFloat | None = None
    """Distance in Å between the two atoms of a dumbbell. By default, it makes the shortest distance between atoms,
    relative to their radii, as large as possible."""
    sites: Literal['random', 'distinct'] = 'random'
    """Use random sites in each seed, or each symmetry-distinct site in turn. `distinct` needs exactly one defect."""
    oxidation_states: dict[Element, int] = Field(default_factory=dict)
    """Oxidation states of added atoms, used if the structure has formal charges. By default an added atom has the
    charge of the atoms of its element in the structure, or else its most common state with the sign of the site."""
    compensation: Compensation = 'none'
    """What balances the charge of the defects: `valence` (the ions nearest to the defects change their oxidation state,
    such as two Ce4+ to Ce3+ for an oxygen vacancy), `vacancies` of the host's ions on random sites, a named element,
    such as {valence: Mn}, {interstitials: Na} or {substitutions: {Mg: Li}}, or `none`."""
    charged: bool = False
    """Allow defects that leave a net formal charge; the charge is recorded."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if not any(getattr(self, name) for name in DEFECTS):
            raise fault(Code.VALUES_INCOMPLETE, f'set {", ".join(DEFECTS[:-1])} or {DEFECTS[-1]}')
        if not self.dumbbells and (self.dumbbell_directions or self.dumbbell_length_A):
            raise fault(Code.VALUES_INCOMPLETE, 'dumbbell_directions and dumbbell_length_A need dumbbells')
        if self.sites == 'distinct' and self.single is None:
            raise fault(
                Code.VALUE_INVALID,
                'sites: distinct needs exactly one defect, such as vacancies: {Cu: 1}; otherwise set sites: random',
            )
        if self.charged and self.compensation != 'none':
            raise fault(Code.VALUES_EXCLUDE, 'set compensation or charged: true, not both')
        if self.sites == 'distinct' and not self._keeps_sites:
            raise fault(Code.VALUE_INVALID, 'sites: distinct excludes compensation on random sites; set sites: random')
        return self

    @property
    def _keeps_sites(self) -> bool:
        """Whether the compensation adds no defects."""
        choice = self.compensation
        return bool(choice.valence) if isinstance(choice, CounterDefect) else choice in ('none', 'valence')

    @property
    def rules(self) -> ValidationSettings:
        """The validation rules. By default, a distinct site that violates one is skipped, as it cannot be redrawn."""
        if self.sites == 'distinct' and self.validation.on_failure is None:
            return super().rules.model_copy(update={'on_failure': 'skip'})
        return super().rules

    def elements(self) -> frozenset[str]:
        """Return the elements of the host and of the added atoms."""
        second = [pair.split('-')[1] for pair in self.dumbbells]
        counter = self.compensation.elements() if isinstance(self.compensation, CounterDefect) else ()
        return super().elements().union(*self.substitutions.values(), self.interstitials, second, counter)

    @property
    def single(self) -> tuple[str, str] | None:
        """The field and the element or pair of the defect, if there is exactly one."""
        fields: dict[str, Mapping[str, float]] = {name: getattr(self, name) for name in DEFECTS} | {
            'substitutions': {old: sum(new.values()) for old, new in self.substitutions.items()},
            'vacancy_clusters': {describe_cluster(counts): 1.0 for counts in self.vacancy_clusters},
        }
        amounts = {(name, key): amount for name, by_key in fields.items() for key, amount in by_key.items()}
        return next(iter(amounts)) if list(amounts.values()) == [1] else None


class DefectGenerator(ComposedGenerator):
    """Adds defects to the structures of the inner entry, taken in turn."""

    settings_class = DefectSettings
    settings: DefectSettings

    def __init__(self, settings: DefectSettings):
        super().__init__(settings)
        self._added = AddedIons(settings.oxidation_states)

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
            if not host.pbc.all():
                formula = host.get_chemical_formula()
                raise AutopipeError(
                    Code.HOST_UNSUITABLE,
                    f'sites: distinct needs structures that are periodic in three directions; {formula} is not; '
                    'set sites: random',
                )
            sites += [(number, site) for site in self._sites_in(host)]
        return sites

    def _sites_in(self, host: Atoms) -> list[np.ndarray]:
        name, key = self.settings.single or ('', '')
        found = SymmetrySites(host)
        if name == 'interstitials':
            sites = found.interstitials()
        elif name == 'vacancy_clusters':
            sites = distinct_clusters(host, self.settings.vacancy_clusters[0])
        elif name == 'dumbbells':
            first, second = key.split('-')
            sites = found.dumbbells(first, self._axes(host), mixed=first != second)
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
        """Return the number of seeds: one per distinct site; for random sites, ten or the number of hosts if larger."""
        if self.settings.sites == 'distinct':
            return super().default_n_seeds()
        return max(N_RANDOM_SEEDS, self.inner.n_parents() or 0) * self.settings.perturb.variants

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a structure with its defects."""
        settings = self.settings
        number, positions = self._distinct_sites[index] if settings.sites == 'distinct' else (index, None)
        host = self.inner_parent(number, rng, requirements)
        atoms = host.atoms.copy()
        if settings.compensation != 'none':
            guess_charges(atoms)
        perfect = atoms.copy()
        mark_host(atoms)
        free = ~fixed_mask(atoms)
        is_on_sites = positions is not None and not settings.interstitials and not settings.dumbbells
        chosen_sites = atoms_at(atoms, positions) if positions is not None and is_on_sites else None
        # Find the voids first, in the perfect structure.
        added = {symbol: n_sites(amount, len(atoms)) for symbol, amount in settings.interstitials.items()}
        voids = draw_interstitial_sites(atoms, sum(added.values()), rng) if added and positions is None else positions
        record: dict[str, Any] = {}
        for symbol, replacements in settings.substitutions.items():
            for new, amount in replacements.items():
                sites = draw_sites(atoms, free, symbol, amount, rng) if chosen_sites is None else chosen_sites
                self._added.replace(atoms, sites, new)
                free[sites] = False
                record.setdefault('substitutions', {})[f'{symbol}-{new}'] = len(sites)
        for pair, amount in settings.antisites.items():
            record.setdefault('antisites', {})[pair] = swap_sites(atoms, free, pair, amount, rng, chosen_sites)
        removed = self._remove(atoms, free, rng, chosen_sites, record)
        dumbbells = self._draw_dumbbells(atoms, free, rng, positions)
        charges = charge_of_elements(atoms)
        shared = split_sites(atoms, dumbbells)
        del atoms[removed]
        if added and voids is not None:
            symbols = [symbol for symbol, number in added.items() for _ in range(number)]
            self._added.insert(atoms, symbols, voids, charges)
            record['interstitials'] = added
        if dumbbells:
            self._added.insert(atoms, [one.second for one in dumbbells], shared, charges)
            record['dumbbells'] = [one.as_record() for one in dumbbells]
        net = DefectCharge(atoms, perfect, record)
        if settings.compensation != 'none':
            record['compensation'] = net.balance(settings.compensation, self._added, rng)
        del atoms.arrays[HOST_INDEX]
        charge = float(atoms.get_initial_charges().sum())
        is_allowed = host.charge_allowed or settings.charged
        return replace(
            host,
            atoms=atoms,
            record={'of': {'kind': settings.of.kind, **host.record}, **record, 'formal_charge': charge},
            repeatable=NOT_REPEATED,
            charge_allowed=is_allowed,
            charge_remedies=net.remedies() if abs(charge) > TOLERANCE and not is_allowed else '',
        )

    def _remove(
        self,
        atoms: Atoms,
        free: np.ndarray,
        rng: np.random.Generator,
        chosen_sites: np.ndarray | None,
        record: dict[str, Any],
    ) -> list[int]:
        """Return the atoms to remove, and add the vacancies to the record."""
        settings = self.settings
        removed: list[int] = []
        for pair, amount in settings.divacancies.items():
            found = draw_pairs(atoms, free, pair, amount, rng) if chosen_sites is None else chosen_sites.tolist()
            removed += found
            record.setdefault('divacancies', {})[pair] = len(found) // 2
        for counts in settings.vacancy_clusters:
            found = draw_cluster(atoms, free, counts, rng) if chosen_sites is None else chosen_sites.tolist()
            removed += found
            free[found] = False
            record.setdefault('vacancy_clusters', []).append(dict(counts))
        for symbol, amount in settings.vacancies.items():
            sites = draw_sites(atoms, free, symbol, amount, rng) if chosen_sites is None else chosen_sites
            removed += sites.tolist()
            free[sites] = False
            record.setdefault('vacancies', {})[symbol] = len(sites)
        if len(removed) >= len(atoms):
            raise AutopipeError(
                Code.TOO_MANY_DEFECTS, f'the vacancies would remove all atoms of {atoms.get_chemical_formula()}'
            )
        return removed

    def _axes(self, host: Atoms) -> list[Axis]:
        return dumbbell_axes(host, self.settings.dumbbell_directions)

    def _draw_dumbbells(
        self, atoms: Atoms, free: np.ndarray, rng: np.random.Generator, positions: np.ndarray | None
    ) -> list[Dumbbell]:
        """Return the dumbbells: along random directions at random sites, or the one at a site and along a vector."""
        dumbbells = []
        for pair, amount in self.settings.dumbbells.items():
            axes = self._axes(atoms)
            if positions is None:
                sites = draw_sites(atoms, free, pair.split('-')[0], amount, rng)
                chosen = [axes[number] for number in rng.integers(len(axes), size=len(sites))]
                vectors = [
                    sign * axis.vector for sign, axis in zip(rng.choice((-1, 1), len(sites)), chosen, strict=True)
                ]
            else:
                sites, vectors = atoms_at(atoms, positions[:1]), [positions[1] - positions[0]]
                chosen = [max(axes, key=lambda axis: round(abs(float(axis.vector @ vectors[0])), 6))]
            free[sites] = False
            for site, axis, vector in zip(sites.tolist(), chosen, vectors, strict=True):
                length_A = self.settings.dumbbell_length_A or dumbbell_length(atoms, site, vector, pair)
                dumbbells.append(Dumbbell(pair, site, Axis(axis.family, vector), length_A))
        return dumbbells


VARIANT = DefectGenerator

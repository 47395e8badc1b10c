"""Ions and counter-defects that balance the charge of point defects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Annotated, Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Discriminator, Field, Tag, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.chemistry.added_ions import AddedIons, charge_of_elements
from aiida_mlip_autopipe.generation.chemistry.charge_transfer import TOLERANCE, find_transfer
from aiida_mlip_autopipe.generation.chemistry.elements import Element
from aiida_mlip_autopipe.generation.defects.site_draws import draw_interstitial_sites, draw_sites
from aiida_mlip_autopipe.structures.seed import fixed_mask

# The index of each atom in the structure without defects, plus 1; 0 for an atom that was added.
HOST_INDEX = 'host_index'


class CounterDefect(Settings):
    """What balances the charge of the defects: one of these fields. The number of ions follows from the charge."""

    valence: Element | None = None
    """The element whose ions change their oxidation state, those nearest to the defects first."""
    vacancies: Element | None = None
    """The element whose ions are removed from random sites."""
    interstitials: Element | None = None
    """The element that is inserted into random voids, such as Na to balance Al on Si."""
    substitutions: dict[Element, Element] = Field(default_factory=dict, max_length=1)
    """The element that is replaced on random sites and its replacement, such as {Mg: Li}."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if sum(bool(getattr(self, name)) for name in type(self).model_fields) != 1:
            raise fault(Code.VALUES_EXCLUDE, 'set exactly one of valence, vacancies, interstitials and substitutions')
        return self

    def elements(self) -> frozenset[str]:
        """Return the elements that the counter-defects add."""
        return frozenset([*self.substitutions.values(), *([self.interstitials] if self.interstitials else [])])


# The type of the value selects the member, so that an error is about this member only.
Compensation = Annotated[
    Annotated[Literal['none', 'valence', 'vacancies'], Tag('word')] | Annotated[CounterDefect, Tag('counter_defect')],
    Discriminator(lambda value: 'word' if isinstance(value, str) else 'counter_defect'),
]


def mark_host(atoms: Atoms) -> None:
    """Assign numbers to the atoms before defects are made, so that the defects can be found afterwards."""
    atoms.set_array(HOST_INDEX, np.arange(1, len(atoms) + 1))


@dataclass
class DefectCharge:
    """The net formal charge of a structure with defects, and what balances it.

    Attributes
    ----------
    atoms
        The structure with its defects, made from one that `mark_host` has numbered. `balance` changes it in place.
    host
        The structure without defects.
    defects
        Number of defects by kind and element, such as ``{'substitutions': {'Zr-Y': 2}}``.
    """

    atoms: Atoms
    host: Atoms
    defects: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Compute the charge and find the atoms and sites of the defects, before `balance` changes the structure."""
        atoms, host = self.atoms, self.host
        self.charge = float(atoms.get_initial_charges().sum())
        index = atoms.arrays[HOST_INDEX] - 1
        old = np.maximum(index, 0)
        is_new = (index < 0) | (atoms.numbers != host.numbers[old])
        is_new |= np.abs(atoms.get_initial_charges() - host.get_initial_charges()[old]) > TOLERANCE
        is_new |= np.abs(atoms.positions - host.positions[old]).max(axis=1) > TOLERANCE
        removed = np.setdiff1d(np.arange(len(host)), index)
        self._points = np.concatenate([atoms.positions[is_new], host.positions[removed]])
        self._allowed = ~is_new & ~fixed_mask(atoms)

    def balance(
        self, compensation: Compensation, added: AddedIons, rng: np.random.Generator
    ) -> dict[str, dict[str, int]]:
        """Make the structure neutral, and return the number of changed ions by the type of change.

        Parameters
        ----------
        compensation
            What balances the charge.
        added
            The rules for the charges of added atoms.
        rng
            Source of the random sites of counter-defects.

        Raises
        ------
        PhysicsViolationError
            If the charge of this draw cannot be balanced.
        AutopipeError
            If the structure has no formal charges, if its defects are always neutral, or if it has too few sites.
        """
        self._check()
        if abs(self.charge) < TOLERANCE:
            return {}
        if compensation == 'valence':
            return self._transfer(None)
        if compensation == 'vacancies':
            vacancy = self._vacancy()
            if vacancy is None or vacancy.times > 1:
                raise self._impossible('vacancies')
            return self._remove(vacancy.symbol, rng)
        assert isinstance(compensation, CounterDefect)
        if compensation.valence:
            return self._transfer(compensation.valence)
        if compensation.vacancies:
            return self._remove(compensation.vacancies, rng)
        if compensation.interstitials:
            return self._insert(compensation.interstitials, added, rng)
        ((old, new),) = compensation.substitutions.items()
        return self._replace(old, new, added, rng)

    def remedies(self) -> str:
        """Return the ions and counter-defects that would balance the charge, as text."""
        found = []
        transfer = find_transfer(self.atoms, self.charge, self._allowed, self._points)
        if transfer:
            ions = [f'{number} {new} instead of {old}' for (old, new), number in transfer.counts().items()]
            found.append(f'{" and ".join(ions)} (compensation: valence)')
        vacancy = self._vacancy()
        if vacancy and vacancy.times == 1:
            found.append(f'{_count(vacancy.number, f"{vacancy.symbol} vacancy")} (compensation: vacancies)')
        elif vacancy:
            counts = _count(vacancy.number, f'{vacancy.symbol} vacancy')
            found.append(f'{counts} for {_describe(self.defects, vacancy.times)}')
        return f'balance it with {" or ".join(found)}, or set charged: true' if found else 'set charged: true'

    def _check(self) -> None:
        charges = self.host.get_initial_charges()
        formula = self.host.get_chemical_formula()
        if not charges.any():
            raise AutopipeError(Code.HOST_UNSUITABLE, f'compensation needs formal charges, but {formula} has none')
        is_pure = len(set(zip(self.host.numbers, charges, strict=True))) == len(set(self.host.numbers))
        if is_pure and abs(self.charge) < TOLERANCE:
            raise AutopipeError(Code.VALUE_INVALID, f'the defects of {formula} are neutral; remove compensation')

    def _transfer(self, symbol: str | None) -> dict[str, dict[str, int]]:
        if symbol:
            self._state(symbol)  # refuses an element that the host does not have
        found = find_transfer(self.atoms, self.charge, self._allowed, self._points, symbol)
        if found is None:
            raise self._impossible(f'ions of {symbol}' if symbol else 'ions in other oxidation states')
        charges = self.atoms.get_initial_charges()
        for site, (_, new) in found.changes.items():
            charges[site] = new
        self.atoms.set_initial_charges(charges)
        return {'valence': {f'{old} to {new}': number for (old, new), number in found.counts().items()}}

    def _remove(self, symbol: str, rng: np.random.Generator) -> dict[str, dict[str, int]]:
        number = self._number(-self._state(symbol), f'vacancies of {symbol}')
        del self.atoms[self._draw(symbol, number, rng)]
        return {'vacancies': {symbol: number}}

    def _replace(self, old: str, new: str, added: AddedIons, rng: np.random.Generator) -> dict[str, dict[str, int]]:
        state = self._state(old)
        change = added.state_on_site(new, state, charge_of_elements(self.host)) - state
        number = self._number(change, f'{new} on {old}')
        added.replace(self.atoms, self._draw(old, number, rng), new)
        return {'substitutions': {f'{old}-{new}': number}}

    def _insert(self, symbol: str, added: AddedIons, rng: np.random.Generator) -> dict[str, dict[str, int]]:
        present = charge_of_elements(self.host)
        state = added.state(symbol, 1, present.get(symbol, 0.0))
        number = self._number(state, f'interstitials of {symbol}')
        # The sites are those of the perfect structure, so that vacancies are not refilled.
        sites = draw_interstitial_sites(self.host, number, rng, present=self.atoms)
        added.insert(self.atoms, [symbol] * number, sites, present)
        return {'interstitials': {symbol: number}}

    def _state(self, symbol: str) -> float:
        """Return the most frequent charge of an element of the host."""
        present = charge_of_elements(self.host)
        if symbol not in present:
            raise AutopipeError(
                Code.SITE_MISSING, f'{self.host.get_chemical_formula()} has no {symbol} for compensation'
            )
        return present[symbol]

    def _number(self, change: float, what: str) -> int:
        """Return the number of counter-defects that balance the charge, each of which contributes ``change``."""
        number = -self.charge / change if change else 0.0
        if round(number) < 1 or abs(number - round(number)) > TOLERANCE:
            raise self._impossible(what)
        return round(number)

    def _draw(self, symbol: str, number: int, rng: np.random.Generator) -> np.ndarray:
        """Return random sites of an element, with its most frequent charge, that no defect has taken."""
        fits = np.abs(self.atoms.get_initial_charges() - self._state(symbol)) < TOLERANCE
        return draw_sites(self.atoms, self._allowed & fits, symbol, number, rng)

    def _vacancy(self) -> _Vacancy | None:
        """Return the vacancies of the most frequent element that balance the smallest multiple of the defects."""
        total = round(self.charge)
        if not total or abs(total - self.charge) > TOLERANCE:
            return None
        found = []
        for symbol, state in charge_of_elements(self.host).items():
            if state * total > 0 and state == int(state):
                times = abs(int(state)) // gcd(int(state), total)
                n_ions = int(np.sum(self.host.symbols == symbol))
                found.append((times, -n_ions, _Vacancy(symbol, times * total // int(state), times)))
        return min(found, key=lambda one: one[:2])[2] if found else None

    def _impossible(self, what: str) -> PhysicsViolationError:
        formula = self.atoms.get_chemical_formula()
        return PhysicsViolationError(
            'formal_charge', (), self.charge, 0.0,
            f'{what} cannot balance the defect charge of {self.charge:+g} e in {formula}; {self.remedies()}',
        )  # fmt: skip


@dataclass(frozen=True)
class _Vacancy:
    """Vacancies that balance the charge of a multiple of the defects."""

    symbol: str
    number: int
    times: int


def _describe(defects: Mapping[str, Any], times: int) -> str:
    """Return a multiple of the defects as text, such as ``2 Y on Zr``."""
    names = {'vacancies': 'vacancy', 'interstitials': 'interstitial'}
    (kind, counts), *others = defects.items()
    if others or len(counts) > 1 or kind not in {'substitutions', *names}:
        return f'{times} times as many of these defects'
    ((key, number),) = counts.items()
    if kind == 'substitutions':
        old, new = key.split('-')
        return f'{times * number} {new} on {old}'
    return _count(times * number, f'{key} {names[kind]}')


def _count(number: int, name: str) -> str:
    if number == 1:
        return f'{number} {name}'
    return f'{number} {name[:-1]}ies' if name.endswith('y') else f'{number} {name}s'

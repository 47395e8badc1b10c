"""Formal charges of a crystal with shared sites: oxidation states that balance all ions, or vacancies that do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.chemistry.balance import balanced
from aiida_mlip_autopipe.generation.chemistry.oxidation import (
    States,
    describe_states,
    known_states,
    nearest_states,
    total_charge,
)
from aiida_mlip_autopipe.generation.chemistry.states import COMMON, possible_states

MAX_VACANT_FRACTION = 0.25
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Ions:
    """The ions of a crystal.

    Attributes
    ----------
    counts
        Number of atoms of each element on each site, before vacancies are made.
    states
        Number of atoms of each element in each oxidation state, before vacancies are made.
    vacancies
        Number of ions to remove, by element.
    alternatives
        Less common states that balance the crystal too, the most common first.
    """

    counts: Counts
    states: States
    vacancies: dict[str, int] = field(default_factory=dict)
    alternatives: tuple[States, ...] = ()


@dataclass(frozen=True)
class Chemistry:
    """The rules for the charges of a crystal.

    Attributes
    ----------
    name
        The structure type, for messages.
    sites
        Fraction of each element on the cation sites (A, B) and on the anion sites X.
    user_states
        Oxidation states from the user.
    compensation
        ``auto``, ``vacancies`` or ``none``.
    tolerance
        Maximum deviation of a fraction from that in `sites`.
    """

    name: str
    sites: Mapping[str, dict[str, float]]
    user_states: Mapping[str, tuple[int, ...]]
    compensation: str
    tolerance: float

    @property
    def is_mixed(self) -> bool:
        """Whether several elements share a site."""
        return any(len(occupation) > 1 for occupation in self.sites.values())

    def guess(self, counts: Counts) -> States:
        """Return the states of a crystal without vacancies: balanced if possible, otherwise the nearest common ones.

        Raises
        ------
        AutopipeError
            If no states balance a crystal without shared sites and compensation is on.
        """
        totals = _totals(counts)
        found = self._balanced(totals, common=True)
        if not found and not self.is_mixed:
            found = self._balanced(totals, common=False)
        if found:
            return found[0]
        nearest = nearest_states(totals, self._by_penalty(totals))
        if self.compensation == 'none' or self.is_mixed:
            return nearest
        formula = ''.join(f'{symbol}{count}' for symbol, count in totals.items())
        raise AutopipeError(
            Code.CHARGE_UNBALANCED,
            f'no oxidation states balance {formula} in {self.name}; the nearest ones, '
            f'{describe_states(nearest)}, leave {total_charge(nearest):+d} e in the cell; '
            'set compensation: none to allow this charge',
        )

    def assign(self, counts: Counts) -> Ions:
        """Return the ions of a crystal: with balanced states, or with vacancies that compensate the charge.

        The common states of all elements are tried first, one element in two of them if necessary. If they do not
        balance, vacancies are tried, with up to three more or fewer ions of a minority element within the tolerance,
        and then rare states.

        Raises
        ------
        AutopipeError
            If nothing balances within the tolerance.
        """
        totals = _totals(counts)
        found = self._balanced(totals, common=True)
        if found:
            return Ions(counts, found[0], alternatives=tuple(found[1:]))
        if self.compensation == 'none' or not self.is_mixed:
            return Ions(counts, self.guess(counts))
        try:
            return self._with_vacancies(counts)
        except AutopipeError:
            rare = self._balanced(totals, common=False) if self.compensation == 'auto' else []
            if not rare:
                raise
            return Ions(counts, rare[0], alternatives=tuple(rare[1:]))

    def can_be_neutral(self, counts: Counts) -> bool:
        """Return whether `assign` finds ions for these counts."""
        try:
            self.assign(counts)
        except AutopipeError:
            return False
        return True

    def _balanced(self, totals: dict[str, int], *, common: bool) -> list[States]:
        candidates = {symbol: self._candidates(symbol, common=common) for symbol in totals}
        # If vacancies are requested, the host must not change its valence, unless its states are given.
        mixed = set(totals) if self.compensation != 'vacancies' or not self.is_mixed else set(self.user_states)
        return [
            {s: {state: int(n) for state, n in by_state.items()} for s, by_state in amounts.items()}
            for amounts in balanced(totals, candidates, mixed=mixed)
        ]

    def _by_penalty(self, totals: dict[str, int]) -> dict[str, tuple[int, ...]]:
        found = {symbol: self._candidates(symbol, common=True) for symbol in totals}
        return {symbol: tuple(sorted(states, key=lambda state: states[state])) for symbol, states in found.items()}

    def _candidates(self, symbol: str, *, common: bool) -> dict[int, float]:
        """Return the penalty of each state that an element may have: those from the user, or the known ones."""
        if self.user_states.get(symbol):
            return dict.fromkeys(self.user_states[symbol], 0.0)
        elements = {other for occupation in self.sites.values() for other in occupation}
        sign = -1 if symbol in self.sites['X'] else 1
        found = {state: cost for state, cost in possible_states(symbol, elements).items() if state * sign > 0}
        if not found:
            found = dict.fromkeys(known_states(symbol, sign, common=True), 0.0)
        if not found:
            name = 'negative' if sign < 0 else 'positive'
            raise AutopipeError(
                Code.VALUE_MISSING, f'no {name} oxidation state of {symbol} is known; set oxidation_states'
            )
        least = min(found.values())
        # Peroxides and polysulfides must be requested; they are not guessed.
        limit = least if sign < 0 else max(COMMON, least) if common else max(found.values())
        return {state: cost for state, cost in found.items() if cost <= limit}

    def _with_vacancies(self, counts: Counts) -> Ions:
        """Return ions with vacancies of the host, with the number of a minority element changed if necessary."""
        beyond: Counts | None = None
        for shifted in _shifts(counts):
            totals = _totals(shifted)
            found = self._balanced(totals, common=True)
            states = found[0] if found else nearest_states(totals, self._by_penalty(totals))
            vacancies = {} if found else self._vacancies(states)
            if vacancies is None:
                continue
            if not self._is_within_tolerance(counts, shifted):
                beyond = beyond or shifted
                continue
            for symbol, number in vacancies.items():
                present = sum(states[symbol].values())
                if number > MAX_VACANT_FRACTION * present:
                    raise AutopipeError(
                        Code.CHARGE_UNBALANCED,
                        f'{describe_states(states)} would need vacancies on {number} of {counted(present, "site")} of '
                        f'{symbol}; the maximum fraction is {MAX_VACANT_FRACTION:g}: use less of the minority element',
                    )
            return Ions(shifted, states, vacancies, tuple(found[1:]))
        if beyond:
            nearest = '; '.join(f'{role}: {_describe(found)}' for role, found in beyond.items() if len(found) > 1)
            raise AutopipeError(
                Code.COMPOSITION_IMPOSSIBLE,
                f'these {sum(_totals(counts).values())} sites cannot have a neutral composition within '
                f'{self.tolerance:g}; the nearest is {nearest}; use a larger cell or raise composition_tolerance',
            )
        states = nearest_states(_totals(counts), self._by_penalty(_totals(counts)))
        raise AutopipeError(
            Code.CHARGE_UNBALANCED, f'no number of vacancies balances {describe_states(states)}; set compensation: none'
        )

    def _is_within_tolerance(self, counts: Counts, shifted: Counts) -> bool:
        """Return whether a composition is within the tolerance. The unchanged composition has been checked before."""
        if shifted == counts:
            return True
        return all(
            abs(number / sum(by_symbol.values()) - self.sites[role][symbol]) <= self.tolerance + 1e-9
            for role, by_symbol in shifted.items()
            for symbol, number in by_symbol.items()
        )

    def _vacancies(self, states: States) -> dict[str, int] | None:
        """Return the host element and how many of its ions to remove, or None if no number compensates the charge."""
        excess = total_charge(states)
        hosts = ('X',) if excess < 0 else tuple(role for role in sorted(self.sites) if role != 'X')
        for role in hosts:
            occupation = self.sites[role]
            symbol = max(sorted(occupation), key=lambda s: occupation[s])
            (state, *_) = states[symbol]
            if excess % state == 0:
                return {symbol: excess // state}
        return None


def _totals(counts: Counts) -> dict[str, int]:
    totals: dict[str, int] = {}
    for by_symbol in counts.values():
        for symbol, count in by_symbol.items():
            totals[symbol] = totals.get(symbol, 0) + count
    return totals


def _describe(by_symbol: dict[str, int]) -> str:
    return ' '.join(f'{symbol}{number / sum(by_symbol.values()):.3g}' for symbol, number in by_symbol.items())


def _shifts(counts: Counts) -> Iterator[Counts]:
    """Yield the counts, and those with up to three main ions replaced by ions of the minority element or vice versa."""
    yield counts
    for shift in (1, -1, 2, -2, 3, -3):
        for role in sorted(counts):
            by_symbol = counts[role]
            if len(by_symbol) > 1:
                main, *minor = sorted(by_symbol, key=lambda symbol: (-by_symbol[symbol], symbol))
                if by_symbol[minor[-1]] + shift >= 1 and by_symbol[main] - shift >= 1:
                    changed = {main: by_symbol[main] - shift, minor[-1]: by_symbol[minor[-1]] + shift}
                    yield {**counts, role: {**by_symbol, **changed}}

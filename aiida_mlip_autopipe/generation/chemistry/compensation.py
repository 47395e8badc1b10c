"""Formal charges of a crystal with shared sites: guessed oxidation states, and vacancies that compensate the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.chemistry.oxidation import (
    States,
    balance,
    describe_states,
    known_states,
    nearest_states,
    total_charge,
)

MAX_VACANT_FRACTION = 0.25


@dataclass(frozen=True)
class Chemistry:
    """The ions of a crystal.

    Attributes
    ----------
    name
        The structure type, for messages.
    sites
        Fraction of each element on the cation sites (A, B) and on the anion sites X.
    user_states
        Oxidation states from the user.
    compensation
        ``vacancies`` or ``none``.
    """

    name: str
    sites: Mapping[str, dict[str, float]]
    user_states: Mapping[str, tuple[int, ...]]
    compensation: str

    def candidates(self, symbol: str, *, common: bool) -> tuple[int, ...]:
        """Return the states that an element may have: those from the user, otherwise the known ones."""
        from_user = self.user_states.get(symbol)
        if from_user:
            return from_user
        is_anion = symbol in self.sites['X']
        # Peroxides and polysulfides must be requested; they are not guessed.
        found = known_states(symbol, -1 if is_anion else 1, common=common or is_anion)
        if not found:
            sign = 'negative' if is_anion else 'positive'
            raise AutopipeError(
                Code.VALUE_MISSING, f'no {sign} oxidation state of {symbol} is known; set oxidation_states'
            )
        return found

    def guess(self, counts: dict[str, int]) -> States:
        """Return states that balance the host with as few uncommon states as possible.

        If no combination balances it and compensation is off, return the states with the smallest total charge.

        Raises
        ------
        AutopipeError
            If no combination of states balances it and compensation is on.
        """
        # Elements with many known states are the first to get an uncommon one: Mn3+ La3+ in LaMnO3, not Mn4+ La2+.
        by_variety = sorted(counts, key=lambda symbol: -len(self.candidates(symbol, common=False)))
        for uncommon in (set(), *({symbol} for symbol in by_variety), set(counts)):
            candidates = {symbol: self.candidates(symbol, common=symbol not in uncommon) for symbol in counts}
            states = balance(counts, candidates)
            if states:
                return states
        nearest = nearest_states(counts, candidates)
        if self.compensation == 'none':
            return nearest
        formula = ''.join(f'{symbol}{count}' for symbol, count in counts.items())
        raise AutopipeError(
            Code.CHARGE_UNBALANCED,
            f'no oxidation states balance {formula} in {self.name}; the nearest ones, '
            f'{describe_states(nearest)}, leave {total_charge(nearest):+d} e in the cell; '
            'set compensation: none to allow this charge',
        )

    def compensate(self, counts: dict[str, dict[str, int]], host: States) -> tuple[States, dict[str, int]]:
        """Return the states of all ions in the supercell, and the vacancies that compensate the remaining charge.

        If no number of vacancies compensates it, the number of ions of a minor element is changed by up to three.
        """
        states: States = {}
        for shift in (0, 1, -1, 2, -2, 3, -3):
            shifted = _shift_minor(counts, shift)
            if shifted is None:
                continue
            totals: dict[str, int] = {}
            for by_symbol in shifted.values():
                for symbol, count in by_symbol.items():
                    totals[symbol] = totals.get(symbol, 0) + count
            from_user = self.user_states
            candidates = {
                s: tuple(host[s]) if s in host and s not in from_user else self.candidates(s, common=True)
                for s in totals
            }
            balanced = balance(totals, candidates)
            states = balanced or nearest_states(totals, candidates)
            vacancies: dict[str, int] | None = {}
            if balanced is None and self.compensation == 'vacancies':
                vacancies = self._vacancies(states)
            if vacancies is not None:
                counts.update(shifted)
                for symbol, number in vacancies.items():
                    present = sum(states[symbol].values())
                    if number > MAX_VACANT_FRACTION * present:
                        raise AutopipeError(
                            Code.CHARGE_UNBALANCED,
                            f'{describe_states(states)} would need {number} vacancies on {present} sites of {symbol}; '
                            f'the maximum vacant fraction is {MAX_VACANT_FRACTION:g}: use less of the minor element',
                        )
                return states, vacancies
        raise AutopipeError(
            Code.CHARGE_UNBALANCED, f'no number of vacancies balances {describe_states(states)}; set compensation: none'
        )

    def _vacancies(self, states: States) -> dict[str, int] | None:
        """Return the host element and how many of its ions to remove, or None if no number compensates the charge."""
        excess = total_charge(states)
        hosts = ('X',) if excess < 0 else tuple(role for role in sorted(self.sites) if role != 'X')
        for role in hosts:
            occupation = self.sites[role]
            symbol = max(occupation, key=lambda s: occupation[s])
            (state, *_) = states[symbol]
            if excess % state == 0:
                return {symbol: excess // state}
        return None


def _shift_minor(counts: dict[str, dict[str, int]], shift: int) -> dict[str, dict[str, int]] | None:
    """Return the counts with `shift` ions of the main element of a shared site replaced by its minor element."""
    if shift == 0:
        return {role: dict(by_symbol) for role, by_symbol in counts.items()}
    for role, by_symbol in counts.items():
        if len(by_symbol) > 1:
            main, *minor = sorted(by_symbol, key=lambda symbol: -by_symbol[symbol])
            if by_symbol[minor[-1]] + shift < 1:
                return None
            changed = {**by_symbol, main: by_symbol[main] - shift, minor[-1]: by_symbol[minor[-1]] + shift}
            return {**counts, role: changed}
    return None

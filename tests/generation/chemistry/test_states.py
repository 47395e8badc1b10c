from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pymatgen.core import Composition

from aiida_mlip_autopipe.generation.chemistry.oxidation import guess_states

TABLE = yaml.safe_load(Path(__file__).with_name('oxidation_states.yaml').read_text())


def compounds(part: str) -> dict[str, dict]:
    return {formula: states for group in TABLE[part].values() for formula, states in group.items()}


def fractions(states: float | list[int]) -> dict[int, float]:
    listed = states if isinstance(states, list) else [states]
    return {state: listed.count(state) / len(listed) for state in listed}


def agrees(formula: str, states: dict, *, reverse: bool) -> bool:
    reduced = Composition(formula).reduced_composition.get_el_amt_dict()
    counts = {symbol: int(n) for symbol, n in sorted(reduced.items(), reverse=reverse)}
    guess = guess_states(counts)
    return (
        guess is not None
        and set(guess.fractions) == set(states)
        and all(found == pytest.approx(fractions(states[symbol])) for symbol, found in guess.fractions.items())
    )


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('part', TABLE)
def test_the_states_are_those_of_the_literature(part, reverse):
    wrong = {formula for formula, states in compounds(part).items() if not agrees(formula, states, reverse=reverse)}
    # The documentation names the compounds that are missed.
    assert wrong == (set(compounds('missed')) if part == 'missed' else set())


def test_the_table_is_neutral_and_large_enough():
    assert len(compounds('tuned')) >= 100
    assert len(compounds('held_out')) >= 50
    for part in TABLE:
        for formula, states in compounds(part).items():
            counts = Composition(formula).get_el_amt_dict()
            charge = sum(counts[s] * q * part for s, given in states.items() for q, part in fractions(given).items())
            assert charge == pytest.approx(0)

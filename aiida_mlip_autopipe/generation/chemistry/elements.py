"""Element symbols, compositions and formulas in the config."""

from __future__ import annotations

import difflib
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BeforeValidator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault

# Maximum deviation of the sum of fractions from 1. It allows three fractions of 0.333.
FRACTION_TOLERANCE = 2e-3
# Largest number of formula units in the whole-number formula that replaces a fractional one.
MAX_DENOMINATOR = 100
# Longest formula that is parsed.
MAX_FORMULA_LENGTH = 200


def check_symbol(symbol: str) -> str:
    """Return the symbol of an element, or raise a fault with the nearest symbol."""
    from ase.data import atomic_names, chemical_symbols

    if symbol in chemical_symbols[1:]:
        return symbol
    by_name = {name.lower(): known for name, known in zip(atomic_names, chemical_symbols, strict=False) if name}
    close = [known for known in chemical_symbols[1:] if known.lower() == symbol.lower()]
    close += [by_name[name] for name in difflib.get_close_matches(symbol.lower(), by_name, 1, 0.8)]
    close += difflib.get_close_matches(symbol.capitalize(), chemical_symbols[1:], 1, 0.4)
    close += [known for known in chemical_symbols[1:] if known[0] == symbol[:1].upper()]
    nearest = close[0] if close else 'H'
    raise fault(Code.ELEMENT_UNKNOWN, f'{symbol!r} is not the symbol of an element', nearest=nearest)


def check_pair(pair: str) -> str:
    """Return a pair of elements such as ``Ga-As``, or raise a fault."""
    symbols = pair.split('-')
    if len(symbols) != 2:
        raise fault(Code.WRONG_PATTERN, f"{pair!r} is not a pair of elements such as 'Ga-As'")
    for symbol in symbols:
        check_symbol(symbol)
    return pair


def check_fractions(fractions: dict[str, float]) -> dict[str, float]:
    """Return fractions, normalised to a sum of 1, or raise a fault if they are invalid."""
    for symbol, fraction in fractions.items():
        if not 0 < fraction <= 1:
            raise fault(
                Code.COMPOSITION_INVALID, f'the fraction of {symbol} is {fraction:g}; it must be above 0 and at most 1'
            )
    total = sum(fractions.values())
    if abs(total - 1) > FRACTION_TOLERANCE:
        raise fault(
            Code.COMPOSITION_INVALID,
            f'the fractions sum to {total:.6g}; they must sum to 1 within {FRACTION_TOLERANCE:g}',
        )
    return {symbol: fraction / total for symbol, fraction in fractions.items()}


def _check_formula(formula: str) -> str:
    from pymatgen.core import Composition

    if len(formula) > MAX_FORMULA_LENGTH:
        raise fault(Code.FORMULA_INVALID, f'a formula must have at most {MAX_FORMULA_LENGTH} characters')
    try:
        composition = Composition(formula)
    except (ValueError, TypeError):
        raise fault(Code.FORMULA_INVALID, f'{formula!r} is not a chemical formula such as Fe2O3') from None
    for element in composition:
        check_symbol(element.symbol)
    if not composition:
        raise fault(Code.FORMULA_INVALID, f'{formula!r} has no atoms')
    if any(amount != int(amount) for amount in composition.values()):
        whole, _ = composition.get_integer_formula_and_factor(max_denominator=MAX_DENOMINATOR)
        example = f'; for example, write {whole}' if set(Composition(whole)) == set(composition) else ''
        raise fault(Code.FORMULA_INVALID, f'{formula!r} must have whole numbers of atoms{example}')
    return formula


Element = Annotated[str, AfterValidator(check_symbol)]
Composition = Annotated[dict[Element, float], AfterValidator(check_fractions)]
Occupation = Annotated[Composition, BeforeValidator(lambda value: {value: 1.0} if isinstance(value, str) else value)]
Formula = Annotated[str, AfterValidator(_check_formula)]


def nearest_counts(fractions: dict[str, float], n_sites: int) -> dict[str, int]:
    """Return the integer counts nearest to a composition, by the largest remainder method.

    Every element first gets the integer part of its number of sites. The remaining sites go to the elements with the
    largest remainders; of equal remainders, the first has priority.

    Parameters
    ----------
    fractions
        Fraction of each element. Their sum is 1.
    n_sites
        Number of sites to fill.
    """
    exact = np.array(list(fractions.values())) * n_sites
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(-np.round(exact - counts, 9), kind='stable')
    counts[order[: n_sites - counts.sum()]] += 1
    return dict(zip(fractions, counts.tolist(), strict=True))

"""Errors of the volumes that are estimated from formulas: `python benchmarks/volumes.py`.

The output is the table of the compounds in `tests/generation/crystals/volumes.yaml` with the known volume of a formula
unit in Å³, the estimate divided by it, and a summary. With `--fit`, the increments are fitted to the first list of
compounds again, and printed.
"""

from __future__ import annotations

import sys
from math import radians, sin, sqrt
from pathlib import Path

import numpy as np
import yaml
from pymatgen.core import Composition

from aiida_mlip_autopipe.generation.chemistry.oxidation import Guess, guess_states
from aiida_mlip_autopipe.generation.crystals.volumes import FITTED, Increments, estimate_volume

TABLE = Path(__file__).parents[1] / 'tests' / 'generation' / 'crystals' / 'volumes.yaml'
LIMIT = 0.2


def cell_volume(system: str, lengths: list[float]) -> float:
    """Return the volume of a cell in Å³ from the lattice constants in the order of the table."""
    a = lengths[0]
    match system:
        case 'cubic':
            return a**3
        case 'tetragonal':
            return a**2 * lengths[1]
        case 'hexagonal':
            return a**2 * lengths[1] * sqrt(3) / 2
        case 'orthorhombic':
            return a * lengths[1] * lengths[2]
        case 'monoclinic':
            return a * lengths[1] * lengths[2] * sin(radians(lengths[3]))
    raise ValueError(system)


def known_volumes(part: str) -> dict[str, float]:
    """Return the known volume of a formula unit, in Å³, for each compound in a part of the table."""
    table = yaml.safe_load(TABLE.read_text(encoding='utf-8'))
    return {
        formula: cell_volume(system, lengths) / n_units
        for system, compounds in table[part].items()
        for formula, (*lengths, n_units) in compounds.items()
    }


def chemistry(formula: str) -> tuple[dict[str, int], Guess]:
    """Return the number of atoms of each element, and the guessed states; metallic hydrides need none here."""
    counts = {str(element): int(number) for element, number in Composition(formula).items()}
    return counts, guess_states(counts) or Guess({})


def ratios(part: str) -> dict[str, float]:
    """Return the estimated volume divided by the known one, by compound."""
    return {formula: estimate_volume(*chemistry(formula)) / volume for formula, volume in known_volumes(part).items()}


def fit() -> Increments:
    """Return the increments that fit the first list best, with less weight for outliers."""
    from scipy.optimize import least_squares

    compounds = [(*chemistry(formula), volume) for formula, volume in known_volumes('fitted').items()]

    def increments(values: np.ndarray) -> Increments:
        anions, metallic, others = np.split(values, [len(FITTED.anions), len(FITTED.anions) + len(FITTED.metallic)])
        shared, soft, slope, radius, proton, contraction = others.tolist()
        return Increments(
            dict(zip(FITTED.anions, anions.tolist(), strict=True)), shared, soft, slope, radius, proton,
            dict(zip(FITTED.metallic, metallic.tolist(), strict=True)), contraction,
        )  # fmt: skip

    def errors(values: np.ndarray) -> list[float]:
        return [
            float(np.log(max(estimate_volume(counts, states, increments(values)), 1e-3) / volume))
            for counts, states, volume in compounds
        ]

    start = [
        *FITTED.anions.values(), *FITTED.metallic.values(), FITTED.shared_shell, FITTED.soft_contraction,
        FITTED.cation_A2, FITTED.cation_radius_A, FITTED.proton, FITTED.metallic_contraction,
    ]  # fmt: skip
    return increments(least_squares(errors, start, loss='soft_l1', f_scale=0.1).x)


def main() -> None:
    """Print the table and its summary, or the fitted increments."""
    if '--fit' in sys.argv:
        print(fit())
        return
    for part in ('fitted', 'held_out'):
        found, known = ratios(part), known_volumes(part)
        for formula, ratio in found.items():
            mark = '' if abs(ratio - 1) <= LIMIT else '  *'
            print(f'{part:9}{formula:14}{known[formula]:8.1f}{ratio:7.2f}{mark}')
        deviations = np.abs(np.array(list(found.values())) - 1)
        within = int(np.sum(deviations <= LIMIT))
        print(f'{part}: median error {np.median(deviations):.1%}, {within} of {len(found)} within {LIMIT:.0%}\n')


if __name__ == '__main__':
    main()

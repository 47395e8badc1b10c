"""How fast seeds are made and checked: `python benchmarks/generation.py`.

Prints validated five-element alloys of 108 atoms a second on one core, and the time to check a structure of 200 atoms.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ase.build import bulk

from aiida_mlip_autopipe.generation import ValidationSettings, iterate_seeds
from aiida_mlip_autopipe.generation.alloy import AlloySettings
from aiida_mlip_autopipe.generation.validation import check_atoms

CUTOFF_A = 5.0
FRACTIONS = {'Cr': 0.2, 'Mn': 0.2, 'Fe': 0.2, 'Co': 0.2, 'Ni': 0.2}


def seconds(work: Callable[[], None], repeats: int) -> float:
    """Return the time of one call in s, after one that warms up."""
    work()
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - started) / repeats


def make_alloys(n_seeds: int, rattle_A: float) -> None:
    """Make and check random alloys and keep none."""
    settings = AlloySettings(composition=FRACTIONS, n_atoms=108, n_seeds=n_seeds, perturb={'rattle_A': rattle_A})
    for _ in iterate_seeds([settings], random_seed=1, cutoff_A=CUTOFF_A):
        pass


def main() -> None:
    """Print the figures."""
    for rattle_A in (0.0, 0.05):
        rate = 200 / seconds(lambda rattle_A=rattle_A: make_alloys(200, rattle_A), 3)
        print(f'five-element alloys, 108 atoms, rattle {rattle_A} Å: {rate:.0f} seeds/s (aim: 200)')
    atoms = bulk('Cu', cubic=True) * (5, 5, 2)
    atoms.rattle(0.05, seed=1)
    settings = ValidationSettings(min_height_factor=0)
    spent = seconds(lambda: check_atoms(atoms, settings, CUTOFF_A), 100)
    print(f'validation of {len(atoms)} atoms: {1000 * spent:.2f} ms (aim: 2)')


if __name__ == '__main__':
    main()

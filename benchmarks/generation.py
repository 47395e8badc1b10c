"""Speed of the generation and validation of seeds: `python benchmarks/generation.py`.

The output is the number of five-element alloys of 108 atoms that are generated and validated per second on one core,
and the time to validate a structure of 200 atoms.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ase import Atoms
from ase.build import bulk

from aiida_mlip_autopipe.generation import ValidationSettings, iterate_seeds
from aiida_mlip_autopipe.generation.kinds.alloy import AlloySettings
from aiida_mlip_autopipe.generation.validation import check_atoms, check_parent

CUTOFF_A = 5.0
FRACTIONS = {'Cr': 0.2, 'Mn': 0.2, 'Fe': 0.2, 'Co': 0.2, 'Ni': 0.2}


def seconds(work: Callable[[], None], repeats: int) -> float:
    """Return the processor time of a call in s. A first call is not counted."""
    work()
    started = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - started) / repeats


def make_alloys(n_seeds: int, rattle_A: float) -> None:
    """Generate and validate random alloys."""
    settings = AlloySettings(composition=FRACTIONS, n_atoms=108, n_seeds=n_seeds, perturb={'rattle_A': rattle_A})
    for _ in iterate_seeds([settings], random_seed=1, cutoff_A=CUTOFF_A):
        pass


def check_all(atoms: Atoms, settings: ValidationSettings) -> None:
    """Check all rules of the validation."""
    check_parent(atoms, settings)
    check_atoms(atoms, settings, CUTOFF_A)


def main() -> None:
    """Print the results."""
    for rattle_A in (0.0, 0.05):
        rate = 200 / seconds(lambda rattle_A=rattle_A: make_alloys(200, rattle_A), 3)
        print(f'five-element alloys, 108 atoms, rattle {rattle_A} Å: {rate:.0f} seeds/s (target: 200)')
    metal = bulk('Cu', cubic=True) * (5, 5, 2)
    salt = bulk('MgO', 'rocksalt', a=4.21, cubic=True) * (5, 5, 1)
    salt.set_initial_charges([2 if symbol == 'Mg' else -2 for symbol in salt.symbols])
    settings = ValidationSettings(min_width_factor=0)
    for name, atoms in (('a metal', metal), ('a salt', salt)):
        atoms.rattle(0.05, seed=1)
        spent = seconds(lambda atoms=atoms: check_all(atoms, settings), 100)
        print(f'validation of {len(atoms)} atoms of {name}: {1000 * spent:.2f} ms (target: 2)')


if __name__ == '__main__':
    main()

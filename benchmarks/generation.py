"""Speed of the generation and validation of seeds: `python benchmarks/generation.py`.

The output is the number of five-element fcc and bcc alloys that are generated and validated per second on one core,
and the time to validate a structure of 200 atoms.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

from ase import Atoms
from ase.build import bulk

from aiida_mlip_autopipe.generation import ValidationSettings, iterate_seeds
from aiida_mlip_autopipe.generation.kinds.alloy import AlloySettings
from aiida_mlip_autopipe.generation.validation import check_atoms, check_parent

CUTOFF_A = 5.0
# The cells of 108 and 128 atoms are cubic, and wide enough for the cutoff.
ALLOYS = {
    'fcc': (108, {'Cr': 0.2, 'Mn': 0.2, 'Fe': 0.2, 'Co': 0.2, 'Ni': 0.2}),
    'bcc': (128, {'V': 0.2, 'Nb': 0.2, 'Mo': 0.2, 'Ta': 0.2, 'W': 0.2}),
}


def seconds(work: Callable[[], None], repeats: int) -> float:
    """Return the CPU time of a call in s. The first call is not counted."""
    work()
    started = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - started) / repeats


def make_alloys(lattice: str, n_seeds: int, rattle_A: float) -> None:
    """Generate and validate random alloys."""
    n_atoms, fractions = ALLOYS[lattice]
    settings = AlloySettings(
        lattice=lattice, composition=fractions, n_atoms=n_atoms, n_seeds=n_seeds, perturb={'rattle_A': rattle_A}
    )
    for _ in iterate_seeds([settings], random_seed=1, cutoff_A=CUTOFF_A):
        pass


def check_all(atoms: Atoms, settings: ValidationSettings) -> None:
    """Check all rules of the validation."""
    check_parent(atoms, settings)
    check_atoms(atoms, settings, CUTOFF_A)


def main() -> None:
    """Print the results."""
    for lattice, rattle_A in product(ALLOYS, (0.0, 0.05)):
        rate = 200 / seconds(lambda lattice=lattice, rattle_A=rattle_A: make_alloys(lattice, 200, rattle_A), 3)
        alloys = f'five-element {lattice} alloys, {ALLOYS[lattice][0]} atoms, rattle {rattle_A} Å'
        print(f'{alloys}: {rate:.0f} seeds/s (target: 200)')
    metal = bulk('Cu', cubic=True) * (5, 5, 2)
    salt = bulk('MgO', 'rocksalt', a=4.21, cubic=True) * (5, 5, 1)
    salt.set_initial_charges([2 if symbol == 'Mg' else -2 for symbol in salt.symbols])
    settings = ValidationSettings(cell='as_given')
    for name, atoms in (('a metal', metal), ('a salt', salt)):
        atoms.rattle(0.05, seed=1)
        spent = seconds(lambda atoms=atoms: check_all(atoms, settings), 100)
        print(f'validation of {len(atoms)} atoms of {name}: {1000 * spent:.2f} ms (target: 2)')


if __name__ == '__main__':
    main()

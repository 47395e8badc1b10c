"""Comparison of thousands of inputs of a calcfunction with a single input node that contains all arrays.

`python benchmarks/links.py` creates a profile in a temporary folder. For each case, it prints the time and the growth
of the profile folder. Each calcfunction reads all arrays of its inputs, as a selection does.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

Result = TypeVar('Result')
SEEDS_PER_CHUNK = 100
N_FRAMES, N_ATOMS = 20, 16


def size_of(folder: Path) -> int:
    """Return the size of all files in a folder in bytes. SQLite and the repository may delete some meanwhile."""
    total = 0
    for path in folder.rglob('*'):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def measure(what: str, folder: Path, function: Callable[[], Result]) -> Result:
    """Call a function, and print its time and the growth of the folder."""
    before, start, cpu = size_of(folder), time.perf_counter(), time.process_time()
    result = function()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    grown = (size_of(folder) - before) / 1e6
    print(f'{what:66s} {seconds:8.2f} s {cpu:8.2f} s CPU time {grown:8.2f} MB', flush=True)
    return result


def main(n_seeds: int, links: list[int], folder: Path) -> None:
    """Measure chunks of seeds as outputs, and legs as inputs: as separate nodes and as one node."""
    from aiida import orm
    from aiida.engine import calcfunction
    from aiida.manage import get_manager
    from ase.build import bulk

    from aiida_mlip_autopipe.data.seed import SeedData
    from aiida_mlip_autopipe.structures.seed import Seed

    rng = np.random.default_rng(0)

    @calcfunction
    def generate(start: orm.Int) -> dict[str, orm.Data]:
        nodes = {}
        for number in range(SEEDS_PER_CHUNK):
            atoms = bulk('Cu', cubic=True) * (2, 2, 1)
            atoms.rattle(0.05, rng=rng)
            nodes[f'seed_{start.value + number}'] = SeedData.from_seed(Seed(atoms))
        return nodes

    @calcfunction
    def read_many(**legs: orm.ArrayData) -> orm.Float:
        return orm.Float(sum(leg.get_array('positions').sum() for leg in legs.values()))

    @calcfunction
    def read_one(collection: orm.ArrayData) -> orm.Float:
        return orm.Float(collection.get_array('positions').sum())

    def make_legs(arrays: np.ndarray) -> list[orm.ArrayData]:
        with get_manager().get_profile_storage().transaction():
            return [orm.ArrayData({'positions': one}).store() for one in arrays]

    for start in range(0, n_seeds, SEEDS_PER_CHUNK):
        measure(f'seeds {start} to {start + SEEDS_PER_CHUNK} as outputs', folder, lambda s=start: generate(orm.Int(s)))
    for n in links:
        arrays = rng.normal(size=(n, N_FRAMES, N_ATOMS, 3))
        legs = measure(f'store {n} legs together', folder, lambda a=arrays: make_legs(a))
        inputs = {f'leg_{number}': leg for number, leg in enumerate(legs)}
        measure(f'calcfunction with {n} legs', folder, lambda i=inputs: read_many(**i))
        collect = partial(orm.ArrayData, {'positions': arrays})
        one = measure(f'store a collection of {n} legs', folder, lambda c=collect: c().store())
        measure('calcfunction with the collection', folder, lambda c=one: read_one(c))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seeds', type=int, default=1000)
    parser.add_argument('--links', type=int, nargs='*', default=[1000, 3000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ['AIIDA_PATH'] = name
        from aiida_mlip_autopipe.installation.profile import ensure_profile

        ensure_profile('links')
        main(arguments.seeds, arguments.links, Path(name))

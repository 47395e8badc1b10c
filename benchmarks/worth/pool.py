"""Create a pool of labelled frames for `compare.py`.

The pool contains structures of six kinds and two metals, which are explored by dynamics with EMT and labelled by
7net-0. An even pool contains the same number of groups of each kind, and the same number of frames of each group at
each temperature. An uneven pool is similar to the result of a campaign. Most of its frames are bulk alloys at low
temperature and only 20 fs apart. Few frames are hot, of other kinds, or from unstable runs.

With ``--phases`` the pool contains bulk and surfaces of five phases instead: both metals, the ordered compounds A3B
(L1_2) and AB (L1_0), and random alloys. All phases have the same number of groups. A pool can also contain only some of
them.

    python benchmarks/worth/pool.py Cu Au even_CuAu
    python benchmarks/worth/pool.py Cu Au uneven_CuAu --uneven
    python benchmarks/worth/pool.py Cu Au even_phases_CuAu --phases
    python benchmarks/worth/pool.py Cu Au uneven_phases_CuAu --phases --uneven
    python benchmarks/worth/pool.py Cu Au uneven_three_CuAu --uneven --phases A A3B AB

The script saves each frame once it is labelled. If it is run again, it continues after the last one.
"""

import argparse
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.build import bulk, fcc100, fcc110, fcc111, surface
from ase.calculators.emt import EMT
from ase.data import atomic_numbers
from ase.io import Trajectory, read
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetLoader, SevenNetSettings

# PBE lattice constants of the face-centred cubic metals, Å (Haas, Tran and Blaha, Phys. Rev. B 79, 085104, 2009).
LATTICE_A = {'Cu': 3.63, 'Au': 4.16, 'Ag': 4.15, 'Pd': 3.94, 'Ni': 3.52, 'Pt': 3.97, 'Al': 4.04}
TIMESTEP_FS = 4.0


class Run(NamedTuple):
    """The exploration of a group at one temperature. Only every n-th group has this run; n is ``every``."""

    temperature_K: int
    n_frames: int
    n_steps_apart: int
    every: int = 1


EVEN = [Run(300, 6, 20), Run(700, 6, 20), Run(1300, 6, 20), Run(2200, 6, 20)]
# Runs at 3500 K are unstable, like the last frames before a crash.
COMMON = [Run(300, 60, 5), Run(700, 24, 5), Run(1300, 6, 20), Run(2200, 3, 20), Run(3500, 2, 20, every=3)]
RARE = [Run(300, 20, 5), Run(700, 6, 5), Run(1300, 3, 20), Run(2200, 2, 20), Run(3500, 2, 20, every=3)]
# The number of groups of each kind, and the runs of each group.
EVEN_RECIPE = dict.fromkeys(('alloy', 'surface', 'defect', 'interface', 'adsorption', 'perturbed'), (10, EVEN))
UNEVEN_RECIPE = {
    'alloy': (16, COMMON),
    'surface': (6, RARE),
    'defect': (4, RARE),
    'interface': (4, RARE),
    'adsorption': (4, RARE),
    'perturbed': (4, RARE),
}
EVEN_OF_PHASE = [Run(300, 2, 20), Run(700, 2, 20), Run(1300, 2, 20), Run(2200, 2, 20)]
UNEVEN_OF_PHASE = [Run(300, 24, 5), Run(700, 10, 5), Run(1300, 6, 20), Run(2200, 3, 20), Run(3500, 2, 20, every=3)]
# The same for each phase.
EVEN_PHASES_RECIPE = dict.fromkeys(('bulk', 'surface'), (6, EVEN_OF_PHASE))
UNEVEN_PHASES_RECIPE = {'bulk': (4, UNEVEN_OF_PHASE), 'surface': (2, UNEVEN_OF_PHASE)}
# Fraction of the first metal on the four sites of the cubic cell: the corner and the centres of the faces normal to the
# x, y and z axes. None stands for a random decoration.
PHASES = {'A': (1, 1, 1, 1), 'B': (0, 0, 0, 0), 'A3B': (0, 1, 1, 1), 'AB': (1, 1, 0, 0), 'random': None}


def lattice_of(numbers, metals):
    """Return the lattice constant by Vegard's law."""
    fraction = np.mean(np.asarray(numbers) == atomic_numbers[metals[0]])
    return fraction * LATTICE_A[metals[0]] + (1 - fraction) * LATTICE_A[metals[1]]


def decorate(n_atoms, metals, rng):
    """Return atomic numbers for a random composition, which may be that of a pure metal."""
    fraction = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0])
    numbers = np.where(rng.random(n_atoms) < fraction, atomic_numbers[metals[0]], atomic_numbers[metals[1]])
    return rng.permutation(numbers)


def make_alloy(metals, rng):
    """Return a random alloy on the face-centred cubic lattice, with a small strain."""
    crystal = bulk('Cu', cubic=True, a=1.0) * ((1, 1, 2), (1, 2, 2), (2, 2, 1))[rng.integers(3)]
    crystal.numbers = decorate(len(crystal), metals, rng)
    crystal.set_cell(crystal.cell * lattice_of(crystal.numbers, metals) * (1 + 0.02 * rng.normal()), scale_atoms=True)
    return crystal


def make_surface(metals, rng, size=(2, 2, 3)):
    """Return a slab of a low-index surface."""
    numbers = decorate(np.prod(size), metals, rng)
    build = (fcc111, fcc100, fcc110)[rng.integers(3)]
    slab = build('Cu', size, a=lattice_of(numbers, metals), vacuum=6.0, periodic=True)
    slab.numbers = numbers
    return slab


def make_defect(metals, rng):
    """Return an alloy with a vacancy or an interstitial atom."""
    crystal = make_alloy(metals, rng)
    while len(crystal) < 16:
        crystal = make_alloy(metals, rng)
    if rng.random() < 0.6:
        del crystal[[int(rng.integers(len(crystal)))]]
        return crystal
    a = crystal.cell.lengths().min() / (1 if crystal.cell.lengths().min() < 5 else 2)
    crystal += Atoms(crystal.get_chemical_symbols()[0], positions=[[a / 2, a / 2, a / 2]])
    return crystal


def make_interface(metals, rng):
    """Return layers of one metal on layers of the other, with the mean lattice constant."""
    n_layers = int(rng.integers(4, 6))
    build = (fcc111, fcc100)[rng.integers(2)]
    a = np.mean([LATTICE_A[metal] for metal in metals])
    stack = build('Cu', (2, 2, n_layers), a=a, vacuum=None, periodic=True)
    spacing = np.ptp(stack.positions[:, 2]) / (n_layers - 1)
    vacuum = 0.0 if rng.random() < 0.5 else 10.0
    stack.cell[2] = [0, 0, n_layers * spacing + vacuum]
    lower = stack.positions[:, 2] < spacing * (rng.integers(1, n_layers) - 0.5)
    stack.numbers = np.where(lower, atomic_numbers[metals[0]], atomic_numbers[metals[1]])
    return stack


def make_adsorption(metals, rng):
    """Return a slab with one to three adsorbed atoms."""
    slab = make_surface(metals, rng, size=(2, 2, 2))
    for _ in range(rng.integers(1, 4)):
        top = slab.positions[:, 2].max()
        shift = rng.random(2) @ slab.cell.array[:2, :2]
        slab += Atoms(metals[rng.integers(2)], positions=[[*shift, top + 1.6]])
    slab.center(vacuum=6.0, axis=2)
    return slab


def make_perturbed(metals, rng):
    """Return a strained and rattled crystal with another lattice."""
    lattice, ratio, repeat = [('bcc', 0.80, (2, 2, 2)), ('sc', 0.66, (2, 2, 2)), ('hcp', 0.71, (2, 2, 2))][
        rng.integers(3)
    ]
    crystal = bulk('Cu', lattice, a=1.0) * repeat
    crystal.numbers = decorate(len(crystal), metals, rng)
    strain = np.eye(3) + 0.04 * rng.normal(size=(3, 3))
    crystal.set_cell(crystal.cell.array @ strain * ratio * lattice_of(crystal.numbers, metals), scale_atoms=True)
    crystal.rattle(0.1, rng=rng)
    return crystal


def make_phase(phase, metals, rng):
    """Return the cubic cell of a phase, with a random strain; a random alloy is decorated later."""
    sites = PHASES[phase] or (1, 1, 1, 1)
    crystal = bulk('Cu', cubic=True, a=1.0)
    crystal.numbers = [atomic_numbers[metals[0] if site else metals[1]] for site in sites]
    return crystal


def decorate_phase(crystal, phase, metals, rng):
    """Decorate a random alloy, and set the lattice constant by Vegard's law."""
    if PHASES[phase] is None:
        first = rng.permutation(len(crystal)) < rng.integers(2, len(crystal) - 1)
        crystal.numbers = np.where(first, atomic_numbers[metals[0]], atomic_numbers[metals[1]])
    scale = lattice_of(crystal.numbers, metals) * (1 + 0.02 * rng.normal())
    crystal.set_cell(crystal.cell * scale, scale_atoms=True)
    return crystal


def make_phase_bulk(phase, metals, rng):
    """Return 8 or 16 atoms of a phase."""
    crystal = make_phase(phase, metals, rng) * ((1, 1, 2), (1, 2, 2), (2, 2, 1))[rng.integers(3)]
    return decorate_phase(crystal, phase, metals, rng)


def make_phase_surface(phase, metals, rng):
    """Return a slab of twelve atoms of a phase, with a low-index surface."""
    indices = ((1, 0, 0), (1, 1, 0), (1, 1, 1))[rng.integers(3)]
    slab = decorate_phase(surface(make_phase(phase, metals, rng), indices, 3, periodic=True), phase, metals, rng)
    slab.center(vacuum=6.0, axis=2)
    return slab


PHASE_KINDS = {'bulk': make_phase_bulk, 'surface': make_phase_surface}
KINDS = {
    'alloy': make_alloy,
    'surface': make_surface,
    'defect': make_defect,
    'interface': make_interface,
    'adsorption': make_adsorption,
    'perturbed': make_perturbed,
}


def explore(seed, run, rng):
    """Yield the frames of a run until it ends or becomes unstable."""
    temperature_K = run.temperature_K
    atoms = seed.copy()
    atoms.calc = EMT()
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature_K, rng=rng)
    dynamics = Langevin(
        atoms, TIMESTEP_FS * units.fs, temperature_K=temperature_K, friction=0.02 / units.fs, rng=rng, fixcm=False
    )
    for _ in range(run.n_frames):
        dynamics.run(run.n_steps_apart)
        if np.abs(atoms.get_forces()).max() > 20 or atoms.get_temperature() > 3 * temperature_K + 1000:
            return
        yield Atoms(atoms.numbers, positions=atoms.get_positions(wrap=True), cell=atoms.cell, pbc=atoms.pbc)


def seeds_of(metals, uneven, phases):
    """Yield the kind, name, phase (or None), number and runs of each group, and a label for its random numbers.

    ``phases`` are the phases of the pool, or None.
    """
    if phases:
        recipe = UNEVEN_PHASES_RECIPE if uneven else EVEN_PHASES_RECIPE
        for phase in phases:
            for kind, (n_groups, runs) in recipe.items():
                for group in range(n_groups):
                    yield kind, f'{phase} {kind}{group}', phase, group, runs, f'{phase} {kind} {group}'
    else:
        for kind, (n_groups, runs) in (UNEVEN_RECIPE if uneven else EVEN_RECIPE).items():
            for group in range(n_groups):
                yield kind, f'{kind}{group}', None, group, runs, f'{kind} {group}'


def make_frames(metals, uneven, phases):
    """Return all frames without labels, with their origin in ``info``."""
    frames = []
    for kind, name, phase, group, runs, text in seeds_of(metals, uneven, phases):
        label = f'{"-".join(metals)} {text}{" uneven" if uneven else ""}'
        rng = np.random.default_rng(int(hashlib.sha256(label.encode()).hexdigest()[:16], 16))
        seed = PHASE_KINDS[kind](phase, metals, rng) if phase else KINDS[kind](metals, rng)
        for run in runs:
            if group % run.every:
                continue
            for step, atoms in enumerate(explore(seed, run, rng), start=1):
                atoms.info = {
                    'kind': kind,
                    'group': name,
                    'temperature_K': run.temperature_K,
                    'step': step * run.n_steps_apart,
                }
                if phase:
                    atoms.info['phase'] = phase
                frames.append(atoms)
    # The order is random, so that the labelled part of a pool is always a representative sample.
    return [frames[i] for i in np.random.default_rng(0).permutation(len(frames))]


def label(frames, path):
    """Label the remaining frames with 7net-0, and append them to a trajectory."""
    calculator = SevenNetLoader(SevenNetSettings(device='cpu')).load().calculator
    done = len(read(path, ':')) if path.is_file() else 0
    with Trajectory(path, 'a') as file:
        for atoms in frames[done:]:
            atoms.calc = calculator
            atoms.get_forces()
            file.write(atoms)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('metals', nargs=2, choices=LATTICE_A)
    parser.add_argument('path', type=Path, help='path of the pool, without suffix')
    parser.add_argument('--uneven', action='store_true', help='create an uneven pool')
    parser.add_argument(
        '--phases', nargs='*', choices=PHASES, help='create a pool of bulk and surfaces of these phases; default: all'
    )
    options = parser.parse_args()
    phases = None if options.phases is None else options.phases or list(PHASES)
    bare, labelled = (options.path.with_suffix(ending) for ending in ('.bare.traj', '.traj'))
    if not bare.is_file():
        with Trajectory(bare, 'w') as file:
            for atoms in make_frames(options.metals, options.uneven, phases):
                file.write(atoms)
    frames = read(bare, ':')
    print(len(frames), 'frames,', sum(map(len, frames)), 'atoms', flush=True)
    label(frames, labelled)


if __name__ == '__main__':
    main()

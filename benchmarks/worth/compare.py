"""What each sampler is worth: the force error of a linear potential trained on what it chose.

    python benchmarks/worth/compare.py pool_CuAu.traj --result validation.csv

Every repeat holds out two of ten lineages of each kind and, of the others, a fifth of the frames; and then again a
whole kind instead. All samplers choose from the same frames that are left, so that their errors can be compared in
pairs. `table.py` makes the table of the docs from the result.
"""

import argparse
import csv
import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
from ase.io import read
from linear_model import fit, fit_basis, make_block

from aiida_mlip_autopipe.sampling import SAMPLERS, direct, environment_kinds, select_frames, soap
from aiida_mlip_autopipe.trajectories import Trajectory

SIZES = (400, 200, 100, 50)
FPS, ENVIRONMENT, RANDOM = {'kind': 'fps'}, {'kind': 'environment'}, {'kind': 'random'}


def halves(*samplers):
    """Return the parts of a mix."""
    return [{'share': 1, 'sampler': sampler} for sampler in samplers]


CHOICES = {
    'random': RANDOM,
    'stride': {'kind': 'stride'},
    'fps': FPS,
    'direct': {'kind': 'direct'},
    'environment': ENVIRONMENT,
    'stratified by temperature, fps': {'kind': 'stratified', 'by': 'temperature', 'within': FPS},
    'mix of fps and random': {'kind': 'mix', 'parts': halves(FPS, RANDOM)},
    'mix of environment and random': {'kind': 'mix', 'parts': halves(ENVIRONMENT, RANDOM)},
}


class Remembering:
    """A descriptor that computes every structure once: the repeats choose from the same frames again and again."""

    known: ClassVar = {}

    def __init__(self, inner):
        self.inner = inner

    def average(self, atoms):
        """Return the mean over the atoms."""
        return self._remember(self.inner.average, atoms)

    def environments(self, atoms):
        """Return the features of each atom."""
        return self._remember(self.inner.environments, atoms)

    def _remember(self, describe, atoms):
        shape = (describe.__name__, tuple(self.inner.species))
        key = (*shape, atoms.positions.tobytes(), atoms.numbers.tobytes(), atoms.cell.array.tobytes())
        if key not in self.known:
            self.known[key] = describe(atoms).astype(np.float32)
        return self.known[key]


def remember_what_repeats():
    """Let the samplers use `Remembering`, and find centres of environments and principal components once."""
    make, choose, fit_once = soap._make_soap, environment_kinds.farthest_points, environment_kinds.fit_projection
    orders, projections = {}, {}

    def farthest_points(points, n_points, *, tolerance):
        key = hashlib.sha256(points.tobytes()).digest()
        if key not in orders or len(orders[key][0]) < n_points < len(points):
            orders[key] = choose(points, n_points, tolerance=tolerance)
        indices, distances, nearest = orders[key]
        # Fewer points are the first of more, and the next one is then the farthest from all of them.
        if len(indices) > n_points:
            nearest = distances[n_points : n_points + 1]
        return indices[:n_points], distances[:n_points], nearest

    def fit_projection(points):
        key = hashlib.sha256(points.tobytes()).digest()
        if key not in projections:
            projections[key] = fit_once(points)
        return projections[key]

    soap._make_soap = lambda settings, species: Remembering(make(settings, species))
    environment_kinds.farthest_points = farthest_points
    environment_kinds.fit_projection = direct.fit_projection = fit_projection


class Pool:
    """Labelled frames with the rows of the linear model."""

    def __init__(self, path):
        self.frames = read(path, ':')
        self.info = [atoms.info for atoms in self.frames]
        self.kinds = np.array([info['kind'] for info in self.info])
        self.lineages = np.array([info['lineage'] for info in self.info])
        basis = fit_basis(self.frames)
        self.rows = [basis.rows(atoms) for atoms in self.frames]
        self.forces = [atoms.get_forces() for atoms in self.frames]
        self.blocks = [
            make_block(rows, atoms.get_potential_energy(), forces)
            for rows, atoms, forces in zip(self.rows, self.frames, self.forces, strict=True)
        ]

    def trajectories(self, indices):
        """Return frames as the explorations of their lineages, and which frame each is."""
        runs = {}
        for i in sorted(indices, key=lambda i: (self.info[i]['temperature_K'], self.info[i]['step'])):
            runs.setdefault(self.lineages[i], []).append(i)
        trajectories = []
        for lineage, members in runs.items():
            frames = [self.frames[i] for i in members]
            temperatures = np.array([self.info[i]['temperature_K'] for i in members], dtype=float)
            trajectories.append(
                Trajectory(
                    seed_id=str(lineage),
                    numbers=frames[0].numbers,
                    pbc=frames[0].pbc,
                    steps=np.array([10_000 * self.info[i]['temperature_K'] + self.info[i]['step'] for i in members]),
                    positions=np.array([atoms.positions for atoms in frames]),
                    cells=np.array([atoms.cell.array for atoms in frames]),
                    energies=np.array([atoms.get_potential_energy() for atoms in frames]),
                    forces=np.array([self.forces[i] for i in members]),
                    stresses=np.zeros((len(frames), 6)),
                    temperatures=temperatures,
                )
            )
        return trajectories, list(runs.values())

    def choose(self, candidates, fields, n, random_seed):
        """Let a sampler choose among candidates."""
        trajectories, members = self.trajectories(candidates)
        settings = SAMPLERS.load(fields['kind']).settings_class
        selection = select_frames(
            trajectories,
            settings.model_validate(fields | {'n_structures': n}),
            random_seed=random_seed,
            kinds=dict(zip(self.lineages.tolist(), self.kinds.tolist(), strict=True)),
        )
        places = zip(selection.trajectory_indices, selection.frame_indices, strict=True)
        return [members[t][f] for t, f in places]

    def errors(self, weights, indices):
        """Return mean and 95th percentile of the length of the error of a force, eV/Å, and the energy's, eV/atom."""
        lengths, energies = [], []
        for i in indices:
            predicted = self.rows[i] @ weights
            lengths.append(np.linalg.norm(predicted[1:].reshape(-1, 3) - self.forces[i], axis=1))
            energies.append(abs(predicted[0] - self.frames[i].get_potential_energy()) / len(self.frames[i]))
        every = np.concatenate(lengths)
        return every.mean(), np.quantile(every, 0.95), np.mean(energies)


def divide(pool, repeat):
    """Yield candidates and test sets of a repeat: lineages and frames held out, then a kind held out."""
    rng = np.random.default_rng([repeat, 20])
    everything = np.arange(len(pool.frames))
    kinds = np.unique(pool.kinds)
    names = [np.unique(pool.lineages[pool.kinds == kind]) for kind in kinds]
    held_out = np.concatenate([rng.choice(some, round(0.2 * len(some)), replace=False) for some in names])
    seeds = np.isin(pool.lineages, held_out)
    frames = ~seeds & (rng.random(len(everything)) < 0.2)
    yield everything[~seeds & ~frames], {'seeds': everything[seeds], 'frames': everything[frames]}
    kind = pool.kinds == kinds[repeat % len(kinds)]
    frames = ~kind & (rng.random(len(everything)) < 0.2)
    yield everything[~kind & ~frames], {'kind': everything[kind]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pool', type=Path)
    parser.add_argument('--result', type=Path, required=True)
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument(
        '--first', type=int, default=0, help='the first repeat; with more than 0 the result is added to'
    )
    parser.add_argument('--samplers', nargs='+', choices=CHOICES, default=list(CHOICES), metavar='NAME')
    options = parser.parse_args()
    remember_what_repeats()
    pool = Pool(options.pool)
    print(len(pool.frames), 'frames', flush=True)
    fields = ['repeat', 'sampler', 'n', 'test', 'mean_eV_A', 'p95_eV_A', 'energy_eV_atom']
    with options.result.open('a' if options.first else 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        if not options.first:
            writer.writerow(fields)
        for repeat in range(options.first, options.repeats):
            for candidates, tests in divide(pool, repeat):
                for name in options.samplers:
                    # More structures by these begin with what fewer would be.
                    nested = name in ('random', 'fps')
                    most = pool.choose(candidates, CHOICES[name], max(SIZES), repeat) if nested else []
                    for n in SIZES:
                        chosen = most[:n] if nested else pool.choose(candidates, CHOICES[name], n, repeat)
                        weights = fit([pool.blocks[i] for i in chosen], np.random.default_rng(repeat))
                        for test, indices in tests.items():
                            figures = [f'{figure:.5f}' for figure in pool.errors(weights, indices)]
                            writer.writerow([repeat, name, len(chosen), test, *figures])
            file.flush()
            print('repeat', repeat, 'done', flush=True)


if __name__ == '__main__':
    main()

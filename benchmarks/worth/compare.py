"""Quality of the samplers: the force error of a linear potential that is trained on the chosen frames.

    python benchmarks/worth/compare.py uneven_CuAu.traj --everywhere even_CuAu.traj --result CuAu.csv

Each repeat holds out a fifth of the groups of each kind, and a fifth of the frames of the other groups. Then it holds
out all frames of one kind instead of the groups. All samplers choose from the same remaining frames, so that their
errors can be compared in pairs. `table.py` makes the tables of the docs from the results. For a pool of phases
(``pool.py --phases``) there are also results for each phase and kind, with its fraction of the chosen structures.
"""

import argparse
import csv
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from caching import cache_repeated_results
from choices import CHOICES
from labelled import Pool
from linear_model import fit, fit_basis, make_block

SIZES = (400, 200, 100, 50)
# Larger selections of these samplers begin with the smaller ones.
NESTED = ('random', 'fps')


class LinearModel:
    """The rows of the design matrix of the linear potential for all frames of a pool."""

    def __init__(self, pool, processes):
        self.pool = pool
        basis = fit_basis(pool.frames)
        with get_context('fork').Pool(processes) as workers:
            self.rows = workers.map(basis.rows, pool.frames, chunksize=20)

    def train(self, chosen, rng):
        """Return the weights of a fit to some frames."""
        blocks = [make_block(self.rows[i], self.pool.energies[i], self.pool.forces[i]) for i in chosen]
        return fit(blocks, rng)

    def errors(self, weights, indices):
        """Return the mean and 95th percentile of the force error in eV/Å, and the mean energy error in eV/atom."""
        lengths, energies = [], []
        for i in indices:
            predicted = self.rows[i] @ weights
            lengths.append(np.linalg.norm(predicted[1:].reshape(-1, 3) - self.pool.forces[i], axis=1))
            energies.append(abs(predicted[0] - self.pool.energies[i]) / len(self.pool.frames[i]))
        every = np.concatenate(lengths)
        return every.mean(), np.quantile(every, 0.95), np.mean(energies)


class Comparison:
    """Runs one repeat. All processes share the pool and its rows."""

    def __init__(self, pool, model, samplers):
        self.pool = pool
        self.model = model
        self.samplers = samplers

    def __call__(self, repeat):
        """Return the lines of the result for a repeat."""
        lines = []
        for candidates, tests in self.pool.divide(repeat):
            for name in self.samplers:
                nested = name in NESTED
                largest = self.pool.choose(candidates, CHOICES[name], max(SIZES), repeat) if nested else []
                for n in SIZES:
                    chosen = largest[:n] if nested else self.pool.choose(candidates, CHOICES[name], n, repeat)
                    weights = self.model.train(chosen, np.random.default_rng(repeat))
                    fractions = {f'{part} {value}': f'{of[chosen].mean():.4f}' for part, value, of in self.pool.parts()}
                    for test, indices in tests.items():
                        figures = [f'{figure:.5f}' for figure in self.model.errors(weights, indices)]
                        lines.append([repeat, name, len(chosen), test, *figures, fractions.get(test, '')])
        return lines


def _run(repeat):
    return Comparison.shared(repeat)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pool', type=Path)
    parser.add_argument('--everywhere', type=Path, help='even pool for testing')
    parser.add_argument('--result', type=Path, required=True)
    parser.add_argument('--repeats', type=int, default=12)
    parser.add_argument(
        '--first', type=int, default=0, help='first repeat (above 0, the lines are appended to the result)'
    )
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--samplers', nargs='+', choices=CHOICES, default=list(CHOICES), metavar='NAME')
    options = parser.parse_args()
    cache_repeated_results()
    pool = Pool(options.pool, options.everywhere)
    # Forked processes inherit this attribute. The object is too large to be sent to each process.
    Comparison.shared = Comparison(pool, LinearModel(pool, options.processes), options.samplers)
    print(pool.n_own, 'frames', flush=True)
    fields = ['repeat', 'sampler', 'n', 'test', 'mean_eV_A', 'p95_eV_A', 'energy_eV_atom', 'fraction']
    with options.result.open('a' if options.first else 'w', newline='') as file:
        writer = csv.writer(file, lineterminator='\n')
        if not options.first:
            writer.writerow(fields)
        with get_context('fork').Pool(options.processes) as workers:
            for repeat, lines in enumerate(workers.imap(_run, range(options.first, options.repeats)), options.first):
                writer.writerows(lines)
                file.flush()
                print('repeat', repeat, 'finished', flush=True)


if __name__ == '__main__':
    main()

"""Make the tables of the docs from the results of `compare.py` and `train_mace.py`.

    python benchmarks/worth/table.py uneven_CuAu.csv uneven_NiPt.csv --tests seeds kind

The first table contains force errors relative to those of ``random`` in the same repeat, as geometric means over the
sizes: the 95th percentile for each result and test, the 95th percentile for all of them, and the mean error for all of
them. The last column is the 95th percentile for all of them relative to that of the best sampler.

The other tables contain the 95th percentile at each size. The last column is the fraction of the ``--at`` structures
with which the sampler reaches the same 95th percentile as ``random`` with all of them. If the fraction is that of the
smallest or largest size, it is an upper or lower limit.

For a pool of phases, the last table contains the fractions of the phases and kinds in the selections of that size.

The intervals are 95 % bootstrap intervals over the repeats.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

REFERENCE = 'random'
N_RESAMPLES = 5000
MEAN, TAIL = 'mean_eV_A', 'p95_eV_A'


class Result:
    """The logarithms of the errors by test and measure, each as an array (sampler, repeat, size)."""

    def __init__(self, path, tests, place, at):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        self.name = path.stem
        self.samplers = list(dict.fromkeys(row['sampler'] for row in rows))
        self.sizes = sorted({int(row['n']) for row in rows})
        every = {(row['test'], row['sampler'], int(row['repeat']), int(row['n'])): row for row in rows}
        keys = [(test, name, n) for test in tests for name in self.samplers for n in self.sizes]
        self.repeats = [
            repeat
            for repeat in sorted({key[2] for key in every})
            if all((test, name, repeat, n) in every for test, name, n in keys)
        ]
        self.logs = {
            (test, measure): np.log(
                [
                    [[float(every[test, name, repeat, n][measure]) for n in self.sizes] for repeat in self.repeats]
                    for name in self.samplers
                ]
            )
            for test in tests
            for measure in (MEAN, TAIL)
        }
        self.fractions = {
            (test, name): np.mean([float(every[test, name, repeat, n]['fraction']) for repeat in self.repeats])
            for test, name, n in keys
            if n == at and every[test, name, self.repeats[0], n].get('fraction')
        }
        # The results are resampled independently because they come from different pools.
        draws = np.random.default_rng(place).integers(0, len(self.repeats), (N_RESAMPLES, len(self.repeats)))
        # The first sample contains each repeat once.
        self.draws = np.concatenate([np.arange(len(self.repeats))[None], draws])

    def level(self, test, measure, name):
        """Return the mean logarithm over the sizes in each sample of the repeats (1 + resamples)."""
        return self.logs[test, measure][self.samplers.index(name)].mean(axis=1)[self.draws].mean(axis=1)

    def curve(self, test, measure, name):
        """Return the geometric mean over the repeats at each size."""
        return np.exp(self.logs[test, measure][self.samplers.index(name)].mean(axis=0))

    def fraction_needed(self, test, name, at):
        """Return the fraction of ``at`` structures with which a sampler reaches the error of ``random`` with ``at``."""
        some = self.draws[:500]
        errors = self.logs[test, TAIL][self.samplers.index(name)][some].mean(axis=1)
        reference = self.logs[test, TAIL][self.samplers.index(REFERENCE)][some].mean(axis=1)
        targets = reference[:, self.sizes.index(at)]
        return np.array(
            [structures_needed(one, target, self.sizes) / at for one, target in zip(errors, targets, strict=True)]
        )


def structures_needed(errors, target, sizes):
    """Return the number of structures that reach an error, by log-log interpolation between the sizes."""
    falling = np.minimum.accumulate(errors)
    if target < falling[-1]:
        return float(sizes[-1])
    # If more structures do not decrease the error, use the smallest number with this error.
    gains = np.concatenate([[True], np.diff(falling) < 0])
    return float(np.exp(np.interp(-target, -falling[gains], np.log(np.asarray(sizes)[gains]))))


def cell(values):
    """Return the first value and the interval of all values, as text."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return f'{values[0]:.2f} ({low:.2f} to {high:.2f})'


def table(head, rows):
    """Print a table."""
    print('| ' + ' | '.join(head) + ' |')
    print('|' + '---|' * len(head))
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', type=Path, nargs='+')
    parser.add_argument('--tests', nargs='+', default=['seeds', 'kind'])
    parser.add_argument('--mean', action='store_true', help='compare mean errors instead of the 95th percentile')
    parser.add_argument('--at', type=int, default=200, help='number of structures that random chooses')
    options = parser.parse_args()
    results = [Result(path, options.tests, place, options.at) for place, path in enumerate(options.results)]
    names = [name for name in results[0].samplers if all(name in result.samplers for result in results)]
    cases = [(result, test) for result in results for test in options.tests]

    def over_cases(measure, name):
        return np.mean([result.level(test, measure, name) for result, test in cases], axis=0)

    measure = MEAN if options.mean else TAIL
    levels = {name: over_cases(measure, name) for name in names}
    best = min(names, key=lambda name: levels[name][0])
    order = sorted(names, key=lambda name: levels[name][0])
    head = [
        'sampler',
        *(f'{result.name}, {test}' for result, test in cases),
        'all',
        'mean error',
        f'relative to {best}',
    ]
    rows = []
    for name in order:
        ratios = [result.level(test, measure, name) - result.level(test, measure, REFERENCE) for result, test in cases]
        mean = over_cases(MEAN, name) - over_cases(MEAN, REFERENCE)
        columns = [*ratios, np.mean(ratios, axis=0), mean, levels[name] - levels[best]]
        rows.append([name, *(cell(np.exp(column)) for column in columns)])
    print(f'Repeats: {", ".join(f"{result.name} {len(result.repeats)}" for result in results)}\n')
    table(head, rows)
    for result, test in cases:
        print(f'\n{result.name}, held-out {test}\n')
        table(
            ['sampler', *(f'p95 at {n}' for n in result.sizes), f'mean at {options.at}', f'fraction of {options.at}'],
            [
                [
                    name,
                    *(f'{error:.3f}' for error in result.curve(test, TAIL, name)),
                    f'{result.curve(test, MEAN, name)[result.sizes.index(options.at)]:.3f}',
                    cell(result.fraction_needed(test, name, options.at)),
                ]
                for name in order
            ],
        )
    for result in results:
        tests = [test for test in options.tests if (test, REFERENCE) in result.fractions]
        if tests:
            print(f'\n{result.name}, fractions of {options.at} structures\n')
            rows = [[name, *(f'{result.fractions[test, name]:.2f}' for test in tests)] for name in order]
            table(['sampler', *tests], rows)


if __name__ == '__main__':
    main()

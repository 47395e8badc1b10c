"""Make the table of the docs from what `compare.py` found.

    python benchmarks/worth/table.py benchmarks/worth/validation.csv

For each test it gives the 95th percentile of the force error in eV/Å at each size; its ratio to random's in the same
repeat, and that of the mean error, as the geometric mean over all sizes; and which share of 200 structures gives the
95th percentile that random has with 200; 0.25 and 2 are the ends of what was tried and mean less or more. Intervals
are 95 % by bootstrap over the repeats.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

SIZES = (50, 100, 200, 400)
REFERENCE = 'random'
AT = 200
N_RESAMPLES = 5000


def read_result(path):
    """Return errors by test and figure: samplers, and an array (sampler, repeat, size)."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    samplers = list(dict.fromkeys(row['sampler'] for row in rows))
    every = {(row['test'], row['sampler'], int(row['repeat']), int(row['n'])): row for row in rows}
    repeats = [
        repeat
        for repeat in sorted({key[2] for key in every})
        if all(('kind', name, repeat, n) in every for name in samplers for n in SIZES)
    ]
    tables = {
        (test, figure): np.array(
            [[[float(every[test, name, repeat, n][figure]) for n in SIZES] for repeat in repeats] for name in samplers]
        )
        for test in ('frames', 'seeds', 'kind')
        for figure in ('mean_eV_A', 'p95_eV_A')
    }
    return samplers, repeats, tables


def structures_needed(errors, target):
    """Return at how many structures an error is reached, between the sizes on a double logarithmic scale.

    The first or the last size stands for all beyond it.
    """
    falling = np.minimum.accumulate(np.log(errors))
    if np.log(target) < falling[-1]:
        return float(SIZES[-1])
    return float(np.exp(np.interp(-np.log(target), -falling, np.log(SIZES))))


def interval(values):
    """Return the 95 % interval."""
    low, high = np.quantile(values, [0.025, 0.975])
    return f'{low:.2f} to {high:.2f}'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('result', type=Path)
    options = parser.parse_args()
    samplers, repeats, tables = read_result(options.result)
    draws = np.random.default_rng(0).integers(0, len(repeats), (N_RESAMPLES, len(repeats)))
    reference = samplers.index(REFERENCE)
    print(f'{len(repeats)} repeats')
    for test in ('seeds', 'frames', 'kind'):
        p95, mean = (tables[test, figure] for figure in ('p95_eV_A', 'mean_eV_A'))
        print(f'\nHeld-out {test}\n')
        print('| sampler |', ' | '.join(f'p95 at {n}' for n in SIZES), '| p95 / random | mean / random | structures |')
        print('|' + '---|' * (len(SIZES) + 4))
        for place, name in enumerate(samplers):
            cells = [name, *(f'{value:.3f}' for value in p95[place].mean(axis=0))]
            for errors in (p95, mean):
                ratios = np.log(errors[place] / errors[reference]).mean(axis=1)
                resampled = np.exp(ratios[draws].mean(axis=1))
                cells.append(f'{np.exp(ratios.mean()):.2f} ({interval(resampled)})')
            if test == 'kind':
                cells.append('')
            else:
                target = SIZES.index(AT)
                found = [
                    structures_needed(p95[place, some].mean(axis=0), p95[reference, some].mean(axis=0)[target]) / AT
                    for some in [np.arange(len(repeats)), *draws[:500]]
                ]
                cells.append(f'{found[0]:.2f} ({interval(found[1:])})')
            print('| ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
    main()

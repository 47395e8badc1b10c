"""Print the tables of the docs from all results of `compare.py`.

    python benchmarks/rounds/table.py results

The labels that a way needs are interpolated on double logarithmic scales between the numbers of labels of its models.
The error to reach is that of `random frames` with the second of these numbers, in the same repeat. A way that reaches
it with the smallest number, or not at all, counts with the smallest or the largest number; the number of such repeats
is in parentheses.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aiida_mlip_autopipe.rounds.label_estimate import estimate_labels

Point = dict[str, Any]
"""A result of `compare.py`, or the values of one model in it."""
REFERENCE = 'random frames'
FORCE = 'force_eV_A'


def with_error(values: Sequence[float], digits: int) -> str:
    """Return a mean with its standard error over the repeats."""
    mean, n = np.mean(values), len(values)
    return f'{mean:.{digits}f}' + (f' ± {np.std(values, ddof=1) / np.sqrt(n):.{digits}f}' if n > 1 else '')


def labels_needed(points: Sequence[Point], target: float, key: str) -> tuple[float, bool]:
    """Return the number of labels with which an error is reached, and whether it is only a limit."""
    numbers = np.array([point[key] for point in points])
    errors = np.minimum.accumulate([point['error_eV_A'] for point in points])
    if target >= errors[0] or target < errors[-1]:
        return (numbers[0] if target >= errors[0] else numbers[-1]), True
    first = int(np.flatnonzero(errors <= target)[0]) - 1
    x, y = np.log(numbers[first : first + 2]), np.log(errors[first : first + 2])
    return float(np.exp(np.interp(-np.log(target), -y, x))), False


def outcomes(rounds: Sequence[Point], of_test_rows: bool) -> Iterator[tuple[bool, float]]:
    """Yield whether the interval of the estimate after the first round contains the labels of each later round.

    The estimate is for the error of the later round, which is thus reached with the number of its labels.
    """
    parts = rounds[0]['parts']
    numbers = [part['n_trained'] for part in parts]
    errors = [part['on_test_rows' if of_test_rows else 'error_eV_A'] for part in parts]
    for one in rounds[1:]:
        if not one['accepted']:
            continue
        target = one['errors_on_test_rows']['new'][FORCE]['value'] if of_test_rows else one['error_eV_A']
        found = estimate_labels(numbers, errors, target, random_seed=0)
        yield found.low <= one['n_trained'] <= found.high, np.log(found.median / one['n_trained'])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    for row in (head, ['---'] * len(head), *rows):
        print('| ' + ' | '.join(row) + ' |')
    print()


def errors_table(name: str, results: Sequence[Point]) -> None:
    """Print the errors of a system."""
    ways = list(results[0]['ways'])
    numbers = [point['n_labels'] for point in results[0]['ways'][REFERENCE]]
    starting = with_error([1000 * one['starting_error_eV_A'] for one in results], 1)
    print(f'{name}: {len(results)} repeats, error of the starting model {starting} meV/Å\n')
    rows = []
    for way in ways:
        curves = [one['ways'][way] for one in results]
        errors = [with_error([1000 * curve[k]['error_eV_A'] for curve in curves], 1) for k in range(len(numbers))]
        ratios = [
            np.log(curve[-1]['error_eV_A'] / one['ways'][REFERENCE][-1]['error_eV_A'])
            for curve, one in zip(curves, results, strict=True)
        ]
        found = []
        for key in ('n_labels', 'n_trained'):
            pairs = [
                labels_needed(curve, one['ways'][REFERENCE][1]['error_eV_A'], key)
                for curve, one in zip(curves, results, strict=True)
            ]
            n_limits = sum(limit for _, limit in pairs)
            found.append(with_error([n for n, _ in pairs], 0) + (f' ({n_limits})' if n_limits else ''))
        seconds = with_error([sum(point['trained_s'] for point in curve) for curve in curves], 1)
        rows.append([way, *errors, with_error(ratios, 2), *found, seconds])
    head = ['labels from', *(f'{n} labels' for n in numbers), 'ln ratio', 'labels', 'trained on', 'training, s']
    table(head, rows)


def coverage_table(results: Sequence[Point]) -> None:
    """Print how often errors are below their bounds, and how often the interval contains the outcome."""
    rows = []
    systems = sorted({one['system'] for one in results})
    for name in [*systems, 'all']:
        own = [one for one in results if name in (one['system'], 'all')]
        rounds = [one['ways']['rounds'] for one in own]
        measured = [[point['coverage'] for point in curve if point['coverage'] is not None] for curve in rounds]
        means = [np.mean([one['fraction'] for one in some]) for some in measured if some]
        every = [one for some in measured for one in some]
        if not every:
            # All models were refused, so none of them had bounds.
            rows.append([name, '0', *['–'] * 6])
            continue
        parts = [np.concatenate([one[f'below_in_{kind}_groups'] for one in every]) for kind in ('trained', 'other')]
        correlations = [one['correlation'] for one in every]
        kept = [np.array([pair for curve in rounds for pair in outcomes(curve, way)]) for way in (True, False)]
        rows.append(
            [
                name,
                str(len(means)),
                with_error([100 * mean for mean in means], 1),
                *(f'{100 * part.mean():.0f} ({len(part)})' for part in parts),
                with_error(correlations, 2),
                *(f'{int(some[:, 0].sum())} of {len(some)} ({np.exp(np.median(some[:, 1])):.2f})' for some in kept),
            ]
        )
    head = ['system', 'repeats', 'coverage, %', 'trained groups', 'other groups', 'rank correlation']
    table([*head, 'interval, test rows', 'interval, other frames'], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', type=Path)
    options = parser.parse_args()
    results = [json.loads(path.read_text()) for path in sorted(options.results.glob('*.json'))]
    for name in sorted({one['system'] for one in results}):
        errors_table(name, [one for one in results if one['system'] == name])
    coverage_table(results)
    print(f'processor time of a repeat: {with_error([one["process_s"] for one in results], 0)} s')


if __name__ == '__main__':
    main()

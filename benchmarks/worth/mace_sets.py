"""Write the selections of samplers as training sets for MACE, together with the test sets.

    python benchmarks/worth/mace_sets.py uneven_AgPd.traj --everywhere even_AgPd.traj --folder sets \
        --samplers fps stride random --sizes 100 200

The selections are the same as in `compare.py`. The sets and configs have the format of `mlip-autopipe dataset split
--trainer mace`. `train_mace.py` trains models on the sets in an environment with MACE.
"""

import argparse
from pathlib import Path

from choices import CHOICES
from labelled import Pool

from aiida_mlip_autopipe.storage.formats.extxyz import write_extxyz
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.training.write import write_trainer_config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pool', type=Path)
    parser.add_argument('--everywhere', type=Path, required=True, help='even pool for testing')
    parser.add_argument('--folder', type=Path, required=True)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--sizes', type=int, nargs='+', default=[100, 200])
    parser.add_argument('--samplers', nargs='+', choices=CHOICES, required=True, metavar='NAME')
    options = parser.parse_args()
    pool = Pool(options.pool, options.everywhere)
    for repeat in range(options.repeats):
        for candidates, tests in pool.divide(repeat):
            # The first test set weights all kinds equally (seeds), or contains only one kind.
            first = next(iter(tests))
            folder = options.folder / f'{repeat}-{first}'
            folder.mkdir(parents=True)
            for test in (name for name in tests if name == first or name.startswith('phase ')):
                write_extxyz(folder / f'{test}.extxyz', [Row(pool.frames[i]) for i in tests[test]])
            for name in options.samplers:
                for n in options.sizes:
                    rows = [Row(pool.frames[i]) for i in pool.choose(candidates, CHOICES[name], n, repeat)]
                    place = folder / f'{name}-{n}'
                    place.mkdir()
                    write_extxyz(place / 'train.extxyz', rows)
                    files = {'train': place / 'train.extxyz'}
                    write_trainer_config(
                        place / 'mace.yaml', 'mace', files, rows, ['train'] * len(rows), random_seed=repeat
                    )


if __name__ == '__main__':
    main()

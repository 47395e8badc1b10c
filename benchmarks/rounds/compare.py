"""Labels that rounds need to reach an error, compared with one selection and with random frames.

    python benchmarks/rounds/compare.py results --systems CuAu Si Ar --repeats 5

Each repeat of a system has other seeds, explorations and test frames. Within a repeat, all ways start from the same
model and the same explorations, and are tested on the same frames. Finished repeats are skipped, so that an interrupted
or longer comparison continues. `table.py` makes the tables of the docs from all results.
"""

import argparse
import json
import tempfile
from pathlib import Path
from time import process_time, time
from typing import Any

from linear_training import LinearTraining
from loop import N_SELECTED, Loop
from repeat import Repeat
from science import Settings, frames_of, label
from systems import SYSTEMS

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.rounds.random_share import N_RANDOM, draw_frames
from aiida_mlip_autopipe.sampling import section_class, select_frames
from aiida_mlip_autopipe.storage import Row

N_ROUNDS = 3
ENVIRONMENT = {'kind': 'environment'}
# The samplers of the rounds. The second one shows what the selection contributes.
LOOPS = {'rounds': ENVIRONMENT, 'rounds with random frames': {'kind': 'random'}}


def select_once(repeat: Repeat, sampler: Settings | None, n_structures: int) -> list[Row]:
    """Return the rows of a selection from the frames that the starting model explores."""
    trajectories = repeat.explore(repeat.training.starting)
    starts = [sum(len(one) for one in trajectories[:index]) for index in range(len(trajectories))]
    every = frames_of(trajectories)
    seeds = [one.seed_id for one in trajectories for _ in range(len(one))]
    if sampler is None:
        places = draw_frames([repeat.groups[one] for one in seeds], repeat.random_seed, 'once', n_drawn=n_structures)
    else:
        settings = section_class(sampler['kind']).model_validate({**sampler, 'n_structures': n_structures})
        found = select_frames(
            trajectories, settings, random_seed=repeat.random_seed, groups=repeat.groups, kinds=repeat.kinds
        )
        places = [starts[t] + int(f) for t, f in zip(found.trajectory_indices, found.frame_indices, strict=True)]
    pairs = [
        {'split': 'train', 'parent': repeat.groups[seeds[one]], 'kind': repeat.kinds[seeds[one]]} for one in places
    ]
    return label([every[one] for one in places], repeat.system.teacher, pairs)


def learning_curve(repeat: Repeat, sampler: Settings | None) -> list[dict[str, float]]:
    """Return the errors after one selection, or with random frames, for the numbers of labels of the rounds."""
    curve = []
    for number in range(1, N_ROUNDS + 1):
        rows = select_once(repeat, sampler, number * (N_RANDOM + N_SELECTED))
        started = process_time()
        model, n_trained = repeat.train(rows, number)
        trained_s, error = process_time() - started, repeat.error(model)
        curve.append({'n_labels': len(rows), 'n_trained': n_trained, 'error_eV_A': error, 'trained_s': trained_s})
    return curve


def run(name: str, number: int, folder: Path) -> dict[str, Any]:
    """Return the result of a repeat."""
    started = process_time()
    repeat = Repeat(SYSTEMS[name], number, lambda rows: LinearTraining(folder, rows))
    result: dict[str, Any] = {
        'system': name,
        'repeat': number,
        'n_seeds': len(repeat.seeds),
        'n_groups': len(set(repeat.groups.values())),
        'n_test_frames': len(repeat.test),
        'starting_error_eV_A': repeat.error(repeat.training.starting),
        'ways': {way: Loop(repeat, sampler).run(N_ROUNDS) for way, sampler in LOOPS.items()},
    }
    result['ways']['one selection'] = learning_curve(repeat, ENVIRONMENT)
    result['ways']['random frames'] = learning_curve(repeat, None)
    return {**result, 'process_s': process_time() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('results', type=Path, help='folder for one file for each repeat of a system')
    parser.add_argument('--systems', nargs='+', choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument('--repeats', type=int, default=5)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for number in range(options.repeats):
        for name in options.systems:
            path = options.results / f'{name}_{number}.json'
            if path.is_file():
                continue
            started = time()
            with tempfile.TemporaryDirectory() as folder:
                result = run(name, number, Path(folder))
            with atomic_write(path, overwrite=False) as unfinished:
                unfinished.write_text(json.dumps(result, indent=1) + '\n')
            print(f'{path.name}: {time() - started:.0f} s', flush=True)


if __name__ == '__main__':
    main()

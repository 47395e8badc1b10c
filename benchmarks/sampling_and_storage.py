"""Wall time, CPU time and peak memory for selecting frames and writing datasets, each in a separate process.

    python benchmarks/sampling_and_storage.py                 # all benchmarks, a few minutes
    python benchmarks/sampling_and_storage.py farthest_points --scale 0.1

``--scale`` reduces the numbers of frames, environments and rows. ``--peer PYTHON`` is the interpreter of an environment
with dscribe and skmatter. For comparison, a script that uses these libraries selects from the same frames there. If
other programs run on the machine, compare the CPU times, which include all processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PEER = """
import sys, time, numpy as np
from ase import Atoms
from dscribe.descriptors import SOAP
from skmatter.sample_selection import FPS
data = np.load(sys.argv[1])
start = time.perf_counter()
frames = [Atoms(data['numbers'], positions=p, cell=c, pbc=True) for p, c in zip(data['positions'], data['cells'])]
soap = SOAP(species=['Cu', 'Au'], r_cut=5.0, n_max=8, l_max=6, sigma=0.5, average='outer', periodic=True)
x = soap.create(frames, n_jobs=int(sys.argv[4]))
x /= np.linalg.norm(x, axis=1, keepdims=True)
described = time.perf_counter()
chosen = FPS(n_to_select=int(sys.argv[2]), initialize=int(sys.argv[3])).fit(x).selected_idx_
print(described - start, time.perf_counter() - described, *chosen)
"""


def make_trajectories(n_frames, n_atoms=64, n_seeds=20):
    """Return frames of rattled and strained Cu–Au crystals, with amplitudes that increase from seed to seed."""
    from ase.build import bulk

    from aiida_mlip_autopipe.structures.trajectory import Trajectory

    rng = np.random.default_rng(0)
    crystal = bulk('Cu', cubic=True, a=3.8) * {64: (4, 2, 2), 32: (2, 2, 2)}[n_atoms]
    numbers = np.array(crystal.numbers)
    numbers[rng.permutation(n_atoms)[: n_atoms // 2]] = 79
    trajectories = []
    for seed in range(n_seeds):
        n = n_frames // n_seeds
        strains = 1 + 0.02 * rng.normal(size=(n, 1, 1))
        positions = crystal.positions * strains + (0.02 + 0.01 * seed) * rng.normal(size=(n, n_atoms, 3))
        trajectories.append(
            Trajectory(
                f'seed{seed:02}',
                numbers,
                np.ones(3, dtype=bool),
                np.arange(n),
                positions,
                crystal.cell.array * strains,
                rng.normal(size=n),
                rng.normal(size=(n, n_atoms, 3)),
                rng.normal(size=(n, 6)),
                np.full(n, 300.0 + 50 * seed),
            )
        )
    return trajectories


def processor_seconds():
    """Return the CPU time of this process and of those child processes that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def select_by_fps(scale, peer):
    """Select 1,000 of 20,000 frames with 64 atoms of two elements."""
    from joblib.externals.loky import get_reusable_executor

    from aiida_mlip_autopipe.sampling import section_class, select_frames

    trajectories = make_trajectories(round(20_000 * scale))
    n = round(1000 * scale)
    start, processor = time.perf_counter(), processor_seconds()
    selection = select_frames(trajectories, section_class('fps')(n_structures=n), random_seed=0)
    figures = {'frames': selection.report['n_candidates'], 'chosen': n, 'seconds': time.perf_counter() - start}
    # The CPU time of the workers is counted only after they have ended.
    get_reusable_executor().shutdown()
    figures['cpu_seconds_of_selection'] = processor_seconds() - processor
    figures['peak_GB_of_a_worker'] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    if peer:
        # The concatenated trajectories are in the order of the pool.
        first = np.cumsum([0] + [len(trajectory) for trajectory in trajectories])
        chosen = first[selection.trajectory_indices] + selection.frame_indices
        with tempfile.NamedTemporaryFile(suffix='.npz') as file:
            np.savez(
                file.name,
                numbers=trajectories[0].numbers,
                positions=np.concatenate([trajectory.positions for trajectory in trajectories]),
                cells=np.concatenate([trajectory.cells for trajectory in trajectories]),
            )
            for n_jobs in (2, 1):
                command = [peer, '-c', PEER, file.name, str(n), str(chosen[0]), str(n_jobs)]
                processor = processor_seconds()
                described, selected, *theirs = subprocess.run(
                    command, capture_output=True, text=True, check=True
                ).stdout.split()
                figures[f'peer_seconds_{n_jobs}_jobs'] = float(described) + float(selected)
                figures[f'peer_seconds_{n_jobs}_jobs_to_describe'] = float(described)
                figures[f'peer_cpu_seconds_{n_jobs}_jobs'] = processor_seconds() - processor
                figures[f'same_selection_{n_jobs}_jobs'] = [int(index) for index in theirs] == chosen.tolist()
    return figures


def select_again(scale, peer):
    """Select 1,000 of 20,000 frames with 64 atoms, with descriptors of 952 features from a job."""
    from aiida_mlip_autopipe.descriptors.describe import Descriptors, descriptor_key
    from aiida_mlip_autopipe.sampling import section_class, select_frames

    trajectories = make_trajectories(round(20_000 * scale))
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(30, 952)).astype(np.float32)
    features = []
    for trajectory in trajectories:
        rows = rng.normal(size=(len(trajectory), 30)).astype(np.float32) @ basis + 5 * basis[0]
        features.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    settings = section_class('fps')(n_structures=round(1000 * scale))
    described = {descriptor_key(settings.descriptor): Descriptors(features, (29, 79), {'n_features': 952})}
    start, processor = time.perf_counter(), time.process_time()
    report = select_frames(trajectories, settings, random_seed=0, described=described).report
    return {
        'frames': report['n_candidates'],
        'chosen': report['n_selected'],
        'seconds': time.perf_counter() - start,
        'cpu_seconds_of_selection': time.process_time() - processor,
    }


def farthest_points(scale, peer):
    """Choose 2,000 of 100,000 points with 1,000 features."""
    from aiida_mlip_autopipe.sampling.farthest_point import farthest_points as choose

    rng = np.random.default_rng(0)
    n, k = round(100_000 * scale), round(2000 * scale)
    centres = rng.normal(size=(100, 1000)).astype(np.float32)
    points = centres[rng.integers(0, 100, n)]
    for start in range(0, n, 1000):
        points[start : start + 1000] += 0.3 * rng.normal(size=points[start : start + 1000].shape).astype(np.float32)
    start, processor = time.perf_counter(), time.process_time()
    choose(points, k)
    figures = {'points': n, 'chosen': k, 'seconds': time.perf_counter() - start}
    figures['cpu_seconds_of_choice'] = time.process_time() - processor
    # The ratios are 2 if the time is proportional to the number of points and to the number of chosen points.
    for name, some, few in (('half_the_points', points[: n // 2], k), ('half_of_the_chosen', points, k // 2)):
        processor = time.process_time()
        choose(some, few)
        figures[f'ratio_to_{name}'] = figures['cpu_seconds_of_choice'] / (time.process_time() - processor)
    return figures


def select_by_environment(scale, peer):
    """Select 300 structures with 200,000 environments of two elements in total."""
    from aiida_mlip_autopipe.sampling import section_class, select_frames

    trajectories = make_trajectories(round(200_000 / 64 * scale))
    start = time.perf_counter()
    settings = section_class('environment')(n_structures=round(300 * scale))
    report = select_frames(trajectories, settings, random_seed=0).report
    return {
        'environments': report['n_environments'],
        'kinds': report['n_clusters'],
        'chosen': report['n_selected'],
        'seconds': time.perf_counter() - start,
    }


def write_rows(scale, peer):
    """Write 10,000 rows with 64 atoms, including their provenance."""
    from aiida_mlip_autopipe.storage import Provenance, export_dataset, make_row

    (trajectory,) = make_trajectories(round(10_000 * scale), n_seeds=1)
    record = {'kind': 'alloy', 'parent': '0' * 16, 'composition': {'Cu': 0.5, 'Au': 0.5}, 'strain': [[0.01] * 3] * 3}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = (
            make_row(
                trajectory.frame(index),
                Provenance(
                    campaign='cu_au',
                    random_seed=0,
                    config_sha256='0' * 64,
                    seed_id='0' * 16,
                    exploration='6a2f41a3-c54c-fce8-32d2-0324e1c32e22',
                    step=index,
                    ensemble='npt',
                    temperature_K=300.0,
                    architecture='sevennet',
                    model='7net-0',
                    model_sha256='0' * 64,
                    package_version='0.1.0',
                    rank=index,
                    distance=0.1,
                ),
                record,
            )
            for index in range(len(trajectory))
        )
        path = Path(folder, 'cu_au.db')
        n_rows = export_dataset(path, rows)
        return {'rows': n_rows, 'seconds': time.perf_counter() - start, 'MB_on_disk': path.stat().st_size / 1e6}


RUNS = (select_by_fps, select_again, farthest_points, select_by_environment, write_rows)
BENCHMARKS = {run.__name__: run for run in RUNS}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'benchmark: {", ".join(BENCHMARKS)} (default: all)')
    parser.add_argument('--scale', type=float, default=1.0)
    parser.add_argument('--peer', help='Python interpreter with dscribe and skmatter')
    parser.add_argument('--here', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f'unknown benchmark: {", ".join(sorted(unknown))}')
    for name in options.names or BENCHMARKS:
        if options.here:
            figures = BENCHMARKS[name](options.scale, options.peer)
            figures['cpu_seconds'] = processor_seconds()
            figures['peak_GB'] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(json.dumps({'benchmark': name} | figures))
        else:
            command = [sys.executable, __file__, name, '--here', '--scale', str(options.scale)]
            subprocess.run([*command, *(['--peer', options.peer] if options.peer else [])], check=True)


if __name__ == '__main__':
    main()

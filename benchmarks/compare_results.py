"""Check whether a change to the code changes the results: seeds, trajectories, selections and datasets.

``python benchmarks/compare_results.py write FOLDER [CONFIG ...]`` runs the example configs with the package that is
installed in the environment of this Python. It uses temporary AiiDA profiles without a daemon, and writes hashes of all
results to ``FOLDER/results.json``. Run it before and after the change. ``python benchmarks/compare_results.py compare A
B`` then prints the differences, and exits with 1 if there are any. Creation times, uuids and the version of the package
are ignored.

The script uses only the command line, the entry points and AiiDA's own nodes. It can therefore also run with an older
commit of the package, in which modules have other names.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CONFIGS = Path(__file__).parents[1] / 'workchains' / 'configs'
RESULTS_FILE = 'results.json'
# More than the number of cores, because jobs and the AiiDA processes, which run without a daemon, often wait.
N_PROCESSES = 3

# Overrides that shorten the campaigns of the examples. The seeds of each file are compared separately and completely.
# These campaigns use their calculators, SevenNet and CHGNet, with 4 seeds of 110 atoms.
MLIP = ('exploration.n_steps=6', 'exploration.frame_interval=2', 'sampling.n_structures=10')
NEEDED_BY = {
    'cu_au': ('sevennet',),
    'committee': ('sevennet', 'chgnet'),
    'learned_descriptors': ('sevennet',),
}
# The other examples are about generation. They use one seed of each of the first two entries, and a potential with the
# same cutoff as SevenNet.
N_ENTRIES = 2
CHEAP = (
    'calculator={kind: lj, epsilon_eV: 0.02, sigma_A: 1.5, cutoff_A: 5.0}',
    'exploration.n_steps=10',
    'exploration.frame_interval=2',
    'sampling.n_structures=5',
)
# `cu_au` with EMT at its full length, then two of its seeds with each sampler and with other options of exploration.
EMT = ('calculator.kind=emt', 'exploration.checkpoint_interval=40')
TWO_SEEDS = ('generation[0].n_seeds=2', 'sampling.n_structures=15')
VARIANTS = {
    'emt': ('name=emt',),
    'reference dataset, direct': ('sampling.reference_dataset={campaign: emt}', 'sampling.kind=direct'),
    'splits, fps': (
        'sampling.kind=fps',
        'sampling.test_fraction=0.25',
        'sampling.valid_fraction=0.2',
        'sampling.max_force_eV_per_A=5',
        'sampling.coverage_target.score=0.9',
    ),
    'jobs, mix': (
        'execution.descriptors.min_frames=0',
        'sampling.kind=mix',
        'sampling.parts=[{fraction: 2, sampler: {kind: fps}}, {fraction: 1, sampler: {kind: environment}}]',
    ),
    'disagreement': (*TWO_SEEDS, 'exploration.committee.calculator.kind=lj', 'sampling.kind=disagreement'),
    'monte carlo, random': (
        *TWO_SEEDS,
        'exploration.ensemble=npt',
        'exploration.monte_carlo={moves: [{kind: swap}, {kind: displacement}, {kind: volume}], n_md_steps: 8}',
        'sampling.kind=random',
    ),
    'bussi, stride': (
        *TWO_SEEDS,
        'exploration.ensemble=nvt',
        'exploration.thermostat=bussi',
        'exploration.n_equilibration_steps=20',
        'sampling.kind=stride',
    ),
    'ramp, stratified': (
        *TWO_SEEDS,
        'exploration.phases=[{kind: ramp, n_steps: 40, temperature_K: 1500}, {kind: velocity_reset, n_steps: 20}]',
        'exploration.temperature_K=[300,900]',
        'exploration.relaxation.max_steps=5',
        'exploration.full_trajectory_interval=1',
        'sampling.kind=stratified',
    ),
    'crash': (
        *TWO_SEEDS,
        'exploration.temperature_K=3000',
        'exploration.timestep_fs=12',
        'sampling.crash_fraction=0.5',
    ),
}

# Values with these names depend on the time, the place or the version of the package.
VOLATILE = {'package', 'package_version', 'exploration', 'wall_time_s', 'folder', 'host'}

Hashes = dict[str, Any]
Case = tuple[str, Path, tuple[str, ...] | None]


# Results


def sha256_of(value: Any) -> str:
    """Return the sha256 of an array with its type and shape, of bytes, or of JSON data."""
    if isinstance(value, np.ndarray):
        value = f'{value.dtype.str} {value.shape} '.encode() + np.ascontiguousarray(value).tobytes()
    elif not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True, default=lambda array: np.asarray(array).tolist()).encode()
    return hashlib.sha256(value).hexdigest()


def without_volatile(value: Any) -> Any:
    """Return a value without the parts that differ between identical runs."""
    if isinstance(value, Mapping):
        return {key: without_volatile(one) for key, one in value.items() if key not in VOLATILE}
    return [without_volatile(one) for one in value] if isinstance(value, list) else value


def hash_node(node: Any) -> Hashes:
    """Return the hashes of the attributes, arrays and files of a node."""
    hashes = {f'attribute {name}': sha256_of(without_volatile(one)) for name, one in node.base.attributes.all.items()}
    for name in node.base.repository.list_object_names():
        content = node.base.repository.get_object_content(name, mode='rb')
        if name.endswith('.npz'):  # the archive itself contains times
            with np.load(io.BytesIO(content)) as arrays:
                hashes |= {f'{name} {one}': sha256_of(arrays[one]) for one in arrays.files}
        else:
            hashes[name] = sha256_of(content)
    return hashes


def hash_rows(dataset: Any) -> Hashes:
    """Return the hashes of the content of each row of a database."""
    from ase.db import connect

    rows = {}
    with dataset.as_path() as path, connect(path) as database:
        for row in database.select(sort='id'):
            entry = {name: row[name] for name in row if name not in ('ctime', 'mtime', 'unique_id', 'user')}
            rows[f'row {row.id}'] = {
                **{f'key {name}': sha256_of(one) for name, one in without_volatile(row.key_value_pairs).items()},
                **{f'data {name}': sha256_of(one) for name, one in without_volatile(dict(row.data)).items()},
                **{name: sha256_of(one) for name, one in entry.items() if name not in row.key_value_pairs},
            }
    return rows


def hash_campaign(campaign: Any) -> Hashes:
    """Return the hashes of all results of a campaign, even if it failed."""
    outputs = campaign.outputs
    hashes: Hashes = {'exit status': f'{campaign.exit_status} {campaign.exit_message or ""}'}
    hashes['seeds'] = {label: hash_node(node) for label, node in namespace(outputs, 'seeds')}
    for link in sorted(called(campaign), key=lambda one: one.link_label):
        for group in ('legs', 'committee', 'descriptors'):
            for name, node in namespace(link.node.outputs, group):
                hashes.setdefault(group, {})[f'{link.link_label} {name}'] = hash_node(node)
    hashes |= {name: hash_node(outputs[name]) for name in ('selection', 'selection_report') if name in outputs}
    hashes['reports'] = {label: hash_node(node) for label, node in namespace(outputs, 'generation_reports')}
    hashes['rows'] = hash_rows(outputs.dataset) if 'dataset' in outputs else {}
    return hashes


def called(campaign: Any) -> list[Any]:
    """Return the links to the work chains that a campaign called."""
    from aiida.common.links import LinkType

    links: list[Any] = campaign.base.links.get_outgoing(link_type=LinkType.CALL_WORK).all()
    return links


def namespace(outputs: Any, name: str) -> list[tuple[str, Any]]:
    """Return the nodes of a namespace of outputs, sorted by label."""
    return sorted(outputs[name].items()) if name in outputs else []


# Runs


def make_profile() -> None:
    """Create a profile for this process."""
    folder = Path(tempfile.mkdtemp(prefix='profile-'))
    os.environ |= {'AIIDA_PATH': str(folder), 'HOME': str(folder), 'OMP_NUM_THREADS': '1'}
    os.environ.pop('AIIDA_PROFILE', None)
    run_program('setup', '--calculator', 'lj')
    from aiida import load_profile

    load_profile('mlip-autopipe')


@cache
def make_code(calculator: str) -> None:
    """Create the code of a calculator. Raise an error if the calculator is not installed."""
    run_program('setup', '--calculator', calculator)


def run_program(*arguments: object) -> None:
    """Run ``mlip-autopipe``. If it fails, raise an error with its output."""
    program = Path(sys.executable).with_name('mlip-autopipe')
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).strip())


def run_campaign(config: Path, overrides: tuple[str, ...]) -> Hashes:
    """Run a campaign in this process, and return the hashes of its results."""
    from aiida.engine import run_get_node
    from aiida.plugins import WorkflowFactory

    for calculator in NEEDED_BY.get(config.stem, ()) if overrides == MLIP else ('emt', 'lj'):
        make_code(calculator)
    workflow: Any = WorkflowFactory('mlip_autopipe.dataset')
    overrides = (*overrides, 'execution.max_concurrent_jobs=2')
    builder = workflow.get_builder_from_config(config, overrides, notify=lambda sentence: None)
    return hash_campaign(run_get_node(builder)[1])


def make_seeds(config: Path) -> Hashes:
    """Generate all seeds of a config with the command line, and return their hashes."""
    from ase.io import iread

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'seeds.extxyz'
        run_program('generate', config, '-o', path)
        seeds = {
            f'seed {number}': {name: sha256_of(array) for name, array in (*atoms.arrays.items(), *atoms.info.items())}
            for number, atoms in enumerate(iread(path))
        }
        return {'file': sha256_of(path.read_bytes()), 'frames': seeds}


def shorten(config: Path, folder: Path) -> Path:
    """Write a config with one seed of each of the first entries next to copies of its input files. Return its path."""
    target = folder / config.parent.name
    if not target.exists():
        shutil.copytree(config.parent, target)
    data = yaml.safe_load(config.read_text(encoding='utf8'))
    data['generation'] = [{**entry, 'n_seeds': 1} for entry in data['generation'][:N_ENTRIES]]
    shorter = target / f'{config.stem}.yaml'
    shorter.write_text(yaml.safe_dump(data, sort_keys=False))
    return shorter


def groups_of(configs: Iterable[Path], folder: Path) -> list[list[Case]]:
    """Return the cases as name, config and overrides. The overrides are None for cases that only generate seeds.

    All cases of a group run in one profile, so that identical explorations run only once.
    """
    configs = list(configs)
    campaigns = [(f'{path.stem}: campaign', path, MLIP) for path in configs if path.stem in NEEDED_BY]
    variants = [
        (f'{path.stem}: {name}', path, (*EMT, *overrides))
        for path in configs
        if path.stem == 'cu_au'
        for name, overrides in VARIANTS.items()
    ]
    groups: list[list[Case]] = [campaigns, variants]
    for path in configs:
        groups.append([(f'{path.stem}: seeds', path, None)])
        if path.stem not in NEEDED_BY:
            groups[-1].append((f'{path.stem}: campaign', shorten(path, folder), CHEAP))
    return [group for group in groups if group]


def run_group(group: list[Case]) -> dict[str, Hashes]:
    """Run all cases of a group. A failure counts as a result."""
    results: dict[str, Hashes] = {}
    for name, config, overrides in group:
        start = time.perf_counter()
        try:
            results[name] = make_seeds(config) if overrides is None else run_campaign(config, overrides)
            summary = ', '.join(f'{len(one)} {key}' for key, one in results[name].items() if isinstance(one, dict))
        except Exception as error:
            results[name] = {'failure': f'{type(error).__name__}: {error}'}
            summary = results[name]['failure']
        print(f'{name:36s} {time.perf_counter() - start:6.1f} s  {summary}', flush=True)
    return results


def write(folder: Path, configs: list[Path]) -> None:
    """Run configs, and write the hashes of their results."""
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Hashes] = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ['TMPDIR'] = scratch  # contains the profiles, too
        context = multiprocessing.get_context('spawn')
        with ProcessPoolExecutor(N_PROCESSES, mp_context=context, initializer=make_profile) as pool:
            for done in as_completed([pool.submit(run_group, group) for group in groups_of(configs, Path(scratch))]):
                results |= done.result()
                (folder / RESULTS_FILE).write_text(json.dumps(results, indent=1, sort_keys=True) + '\n')
    print(f'{len(results)} cases in {time.perf_counter() - start:.0f} s, in {folder / RESULTS_FILE}')


# Differences


def flatten(hashes: Hashes, path: str = '') -> Iterator[tuple[str, str]]:
    """Yield each hash with its path."""
    for name, value in hashes.items():
        place = f'{path} / {name}'.removeprefix(' / ')
        if isinstance(value, dict):
            yield from flatten(value, place)
        else:
            yield place, value


def compare(before: Path, after: Path) -> int:
    """Print for each case whether its results are the same, and return the number of cases that differ."""
    left, right = (json.loads((folder / RESULTS_FILE).read_text()) for folder in (before, after))
    n_different = 0
    for name in sorted(left.keys() | right.keys()):
        one, other = (dict(flatten(results.get(name, {'failure': 'not run'}))) for results in (left, right))
        different = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
        n_different += bool(different)
        if different:
            print(f'{name:36s} DIFFERENT in {len(different)} of {len(one.keys() | other.keys())} hashes:')
            print(*(f'    {key}: {one.get(key)} → {other.get(key)}' for key in different[:8]), sep='\n')
        else:
            print(f'{name:36s} {one.get("failure") or f"the same in {len(one)} hashes"}')
    print(f'{n_different} of {len(left.keys() | right.keys())} cases differ')
    return n_different


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    writer = commands.add_parser('write', help='run configs, and write the hashes of their results')
    writer.add_argument('folder', type=Path)
    writer.add_argument('configs', nargs='*', type=Path, help='config files (default: all in workchains/configs)')
    comparer = commands.add_parser('compare', help='print the differences')
    comparer.add_argument('before', type=Path)
    comparer.add_argument('after', type=Path)
    arguments = parser.parse_args()
    if arguments.command == 'compare':
        sys.exit(compare(arguments.before, arguments.after) > 0)
    # Run the longest cases first, so that all processes end at about the same time.
    configs = sorted(CONFIGS.glob('*.yaml'), key=lambda path: ('formula' not in path.stem, path.stem))
    configs = arguments.configs or configs
    write(arguments.folder, [path.absolute() for path in configs])


if __name__ == '__main__':
    main()

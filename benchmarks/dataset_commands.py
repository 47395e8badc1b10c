"""CPU time and peak memory of each `mlip-autopipe dataset` command on a dataset of 10,000 rows.

    python benchmarks/dataset_commands.py                  # all commands, a few minutes
    python benchmarks/dataset_commands.py info merge       # only these
    python benchmarks/dataset_commands.py --rows 1000

The dataset has frames of Cu–Au crystals with 32 atoms, 20 frames of each seed, with the provenance that a campaign
stores, and random labels. Each command runs in a separate process with one thread. The CPU time (user and system)
includes Python's startup and the imports. This script imports no heavy package, because the peak memory of a
process includes that of its parent before it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FRAMES_PER_SEED = 20
VASP = {'code': 'vasp', 'label_source': 'dft:vasp:pbe', 'incar': {'ENCUT': 520, 'GGA': 'PE'}}
METADATA = """\
title: Cu–Au crystals
description: Random labels for a benchmark.
authors: [{name: 'Example, Ada'}]
licence: CC-BY-4.0
version: 1.0.0
links: ['https://example.org']
"""
COMMANDS = {
    'info': 'info cu_au.db',
    'info --card': 'info cu_au.db --card out.md',
    'report': 'report cu_au.db -o out.html',
    'split': 'split cu_au.db -o out.db',
    'split --trainer mace': 'split cu_au.db -o out.extxyz --trainer mace',
    'merge': 'merge first.db second.db -o out.db',
    'diff': 'diff cu_au.db cu_au.db',
    'dft-inputs': 'dft-inputs cu_au.db -o out --settings vasp.yaml',
    'convert to db': 'convert cu_au.db -o out.db',
    'convert to extxyz': 'convert cu_au.db -o out.extxyz',
    'convert to aselmdb': 'convert cu_au.db -o out.aselmdb',
    'convert to deepmd': 'convert cu_au.db -o out --format deepmd',
    'convert to nep': 'convert cu_au.db -o out.xyz --format nep',
    'convert to gap': 'convert cu_au.db -o out.xyz --format gap',
    'convert to ace': 'convert cu_au.db -o out.pckl.gzip',
    'convert to mace-hdf5': 'convert cu_au.db -o out.h5',
    'import': 'import frames.extxyz -o out.db --level cu_au.db',
    'publish': 'publish cu_au.db --metadata metadata.yaml -o out.json',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='COMMAND', help=f'one of: {", ".join(COMMANDS)} (default: all)')
    parser.add_argument('--rows', type=int, default=10_000)
    parser.add_argument('--data', type=Path, help='folder for the datasets, which are reused; by default, temporary')
    parser.add_argument('--make', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        make_datasets(options.data, options.rows)
        return
    if unknown := set(options.names) - set(COMMANDS):
        parser.error(f'unknown command: {", ".join(sorted(unknown))}')
    with tempfile.TemporaryDirectory() as temporary:
        data = options.data or Path(temporary, 'data')
        if not data.exists():
            data.mkdir()
            made = [sys.executable, __file__, '--make', '--data', str(data), '--rows', str(options.rows)]
            subprocess.run(made, check=True)
        for name in options.names or COMMANDS:
            with tempfile.TemporaryDirectory(dir=data.parent) as folder:
                for file in data.iterdir():
                    Path(folder, file.name).symlink_to(file.resolve())
                print(json.dumps({'command': name} | measure(COMMANDS[name], Path(folder))), flush=True)


def measure(command: str, folder: Path) -> dict[str, float]:
    """Run a command in a folder, and return its CPU time in s, its peak memory in GB and its exit status."""
    program = Path(sys.executable).with_name('mlip-autopipe')
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
    with Path(folder, 'log').open('w') as log:
        process = subprocess.Popen(
            [program, 'dataset', *command.split()],
            cwd=folder,
            env=os.environ | threads,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(Path(folder, 'log').read_text()[-2000:], file=sys.stderr)
    return {
        'cpu_s': round(usage.ru_utime + usage.ru_stime, 2),
        'peak_GB': round(usage.ru_maxrss / 1e6, 3),
        'exit_status': process.returncode,
    }


def make_datasets(folder: Path, n_rows: int) -> None:
    """Write the dataset, its halves, and the other inputs of the commands."""
    import numpy as np
    import yaml
    from ase.calculators.singlepoint import SinglePointCalculator

    from aiida_mlip_autopipe.generation import iterate_seeds
    from aiida_mlip_autopipe.generation.kinds.alloy import AlloySettings
    from aiida_mlip_autopipe.storage import Provenance, export_dataset, make_row

    rng = np.random.default_rng(0)
    n_seeds = -(-n_rows // FRAMES_PER_SEED)
    settings = AlloySettings(
        lattice='fcc', composition={'Cu': 0.5, 'Au': 0.5}, n_atoms=32, n_seeds=n_seeds, perturb={'rattle_A': 0.05}
    )
    rows = []
    for seed in iterate_seeds([settings], random_seed=1, cutoff_A=3.5):
        for step in range(0, 100 * FRAMES_PER_SEED, 100):
            atoms = seed.atoms.copy()
            atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
            labels = {
                'energy': float(rng.normal(-100, 2)),
                'forces': rng.normal(size=(len(atoms), 3)),
                'stress': rng.normal(scale=0.01, size=6),
            }
            atoms.calc = SinglePointCalculator(atoms, **labels)
            provenance = Provenance(
                campaign='cu_au',
                random_seed=0,
                config_sha256='0' * 64,
                seed_id=seed.seed_id,
                exploration=f'{seed.seed_id}-run',
                step=step,
                ensemble='npt',
                temperature_K=float(rng.normal(600, 30)),
                target_temperature_K=600.0,
                architecture='sevennet',
                model='7net-0',
                model_sha256='a' * 64,
                package_version='0.1.0',
                ase_version='3.29.0',
                calculator_version='0.13.0',
                torch_version='2.8.0',
                numpy_version='2.4.6',
                scipy_version='1.16.0',
                environment='env-0123456789abcdef',
                precision='float32',
                rank=len(rows),
                distance=0.1,
            )
            rows.append(make_row(atoms, provenance, seed.record, {'Cu': -0.5, 'Au': -0.4}))
    rows = rows[:n_rows]
    export_dataset(folder / 'cu_au.db', rows)
    export_dataset(folder / 'frames.extxyz', rows)
    export_dataset(folder / 'first.db', rows[: n_rows // 2])
    export_dataset(folder / 'second.db', rows[n_rows // 2 :])
    (folder / 'vasp.yaml').write_text(yaml.safe_dump(VASP))
    (folder / 'metadata.yaml').write_text(METADATA)


if __name__ == '__main__':
    main()

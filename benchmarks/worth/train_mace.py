"""Train a small MACE model on each set of `mace_sets.py`, and measure its errors. Requires an environment with MACE.

    python benchmarks/worth/train_mace.py sets --result mace.csv

The number of epochs is chosen so that all models see the same total number of structures, regardless of the size of the
set. Models already in the result are skipped.
"""

import argparse
import csv
from pathlib import Path
from time import process_time

import numpy as np
import torch
from ase.io import read
from mace import data, tools
from mace.cli.run_train import run
from mace.tools import torch_geometric

N_SEEN = 3000
# A small network, but large enough to be more accurate than a linear potential.
OVERRIDES = {
    'num_channels': 16,
    'max_L': 0,
    'max_ell': 2,
    'correlation': 2,
    'default_dtype': 'float32',
    'batch_size': 5,
    'r_max': 4.0,
    'scheduler': 'ExponentialLR',
    'energy_weight': 1,
    'forces_weight': 100,
    'stress_weight': 1,
    'plot': False,
    'error_table': 'PerAtomMAE',
}
# Final learning rate of the optimiser, as a fraction of the initial one.
DECAY = 0.02


def train(place):
    """Train a model on the set in a folder, and return the model."""
    n_structures = len(read(place / 'train.extxyz', ':'))
    n_epochs = N_SEEN // n_structures
    overrides = OVERRIDES | {
        'max_num_epochs': n_epochs,
        'eval_interval': max(1, n_epochs // 10),
        'lr_scheduler_gamma': DECAY ** (1 / n_epochs),
        'train_file': place / 'train.extxyz',
        # Neither a validation set nor a second stage is used.
        'valid_file': place / 'train.extxyz',
        'start_swa': n_epochs,
        'work_dir': place / 'mace',
    }
    flags = [f'--{name}={value}' for name, value in overrides.items()]
    run(tools.build_default_arg_parser().parse_args(['--config', str(place / 'mace.yaml'), *flags]))
    return torch.load(place / 'mace' / 'mace.model', weights_only=False)


def errors(model, frames):
    """Return the mean and 95th percentile of the force error in eV/Å, and the mean energy error in eV/atom."""
    table = tools.AtomicNumberTable([int(number) for number in model.atomic_numbers])
    configurations = [data.config_from_atoms(atoms) for atoms in frames]
    loader = torch_geometric.dataloader.DataLoader(
        [data.AtomicData.from_config(one, z_table=table, cutoff=float(model.r_max)) for one in configurations],
        batch_size=16,
        shuffle=False,
        drop_last=False,
    )
    forces, energies = [], []
    for batch in loader:
        output = model(batch.to_dict(), compute_stress=False)
        forces.append(output['forces'].detach().numpy())
        energies.append(output['energy'].detach().numpy())
    expected = np.concatenate([atoms.get_forces() for atoms in frames])
    lengths = np.linalg.norm(np.concatenate(forces) - expected, axis=1)
    off = np.concatenate(energies) - [atoms.get_potential_energy() for atoms in frames]
    return lengths.mean(), np.quantile(lengths, 0.95), np.mean(np.abs(off) / [len(atoms) for atoms in frames])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--result', type=Path, required=True)
    options = parser.parse_args()
    if not options.result.is_file():
        options.result.write_text('repeat,sampler,n,test,mean_eV_A,p95_eV_A,energy_eV_atom\n')
    done = {tuple(row[:4]) for row in csv.reader(options.result.open())}
    for group in sorted(options.folder.iterdir()):
        repeat = group.name.split('-')[0]
        tests = {path.stem: read(path, ':') for path in sorted(group.glob('*.extxyz'))}
        for place in sorted(path for path in group.iterdir() if path.is_dir()):
            name, n = place.name.rsplit('-', 1)
            if all((repeat, name, n, test) in done for test in tests):
                continue
            start = process_time()
            model = train(place)
            with options.result.open('a', newline='') as file:
                for test, frames in tests.items():
                    figures = [f'{figure:.5f}' for figure in errors(model, frames)]
                    csv.writer(file, lineterminator='\n').writerow([repeat, name, n, test, *figures])
                    print(group.name, place.name, test, *figures, flush=True)
            print(f'{process_time() - start:.0f} s', flush=True)


if __name__ == '__main__':
    main()

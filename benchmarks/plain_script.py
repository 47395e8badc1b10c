"""A script that does what a campaign does, with a process pool: dynamics of the same seeds, selection and database.

``python plain_script.py SEEDS.extxyz CALCULATOR N_STEPS INTERVAL TEMPERATURE_K N_STRUCTURES OUTPUT.db``
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor

import ase.io
import numpy as np
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from dscribe.descriptors import SOAP

CALCULATOR = {}


def load_calculator(kind):
    """Load the calculator, once in each process."""
    if kind == 'emt':
        from ase.calculators.emt import EMT

        CALCULATOR['loaded'] = EMT()
    else:
        from sevenn.calculator import SevenNetCalculator

        CALCULATOR['loaded'] = SevenNetCalculator('7net-0', device='cpu')


def run_dynamics(task):
    """Run Langevin dynamics and return the frames with energy, forces and stress."""
    number, atoms, n_steps, interval, temperature_K = task
    rng = np.random.default_rng(number)
    atoms.calc = CALCULATOR['loaded']
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature_K, rng=rng)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=temperature_K, friction=0.01 / units.fs, rng=rng)
    frames = []

    def store_frame():
        if dynamics.nsteps == 0:
            return
        frame = atoms.copy()
        frame.calc = SinglePointCalculator(
            frame, energy=atoms.get_potential_energy(), forces=atoms.get_forces(), stress=atoms.get_stress()
        )
        frames.append(frame)

    dynamics.attach(store_frame, interval=interval)
    dynamics.run(n_steps)
    return frames


def select(frames, n_structures):
    """Choose frames by farthest point sampling with averaged SOAP."""
    species = sorted({symbol for frame in frames for symbol in frame.symbols})
    soap = SOAP(species=species, r_cut=5.0, n_max=8, l_max=6, average='inner', periodic=True)
    points = soap.create(frames)
    chosen = [int(np.argmax(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    distances = np.full(len(points), np.inf)
    while len(chosen) < n_structures:
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distances)))
    return chosen


def main():
    """Run the script."""
    seeds, kind, n_steps, interval, temperature, n_structures, output = sys.argv[1:]
    tasks = [
        (number, atoms, int(n_steps), int(interval), float(temperature))
        for number, atoms in enumerate(ase.io.read(seeds, ':'))
    ]
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, initializer=load_calculator, initargs=(kind,)) as pool:
        frames = [frame for part in pool.map(run_dynamics, tasks) for frame in part]
    with connect(output) as database:
        for index in select(frames, int(n_structures)):
            database.write(frames[index])


if __name__ == '__main__':
    main()

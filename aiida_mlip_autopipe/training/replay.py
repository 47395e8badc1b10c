"""Crystals of chemical systems other than those of a dataset, for replay during fine-tuning and to measure the drift.

Frames of a chemical system that is labelled must not be replayed: their labels are those of the model that is being
fine-tuned, so they would teach the errors that the new labels correct.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice, product
from math import gcd
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import read

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import derive_random_seed, make_rng
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation import PerturbSettings, ValidationSettings, generate_seeds
from aiida_mlip_autopipe.generation.chemistry.oxidation import guess_states
from aiida_mlip_autopipe.generation.kinds.formula import FormulaSettings

# Increase this whenever the same arguments give different structures.
REPLAY_VERSION = '1'
# Elements that many compounds in the training data of foundation models contain. No element is in both lists, so that
# the drift is measured for chemical systems that were not replayed. Neighbours in the lists are in similar groups of
# the periodic table.
OF_REPLAY = (
    'Li', 'K', 'Mg', 'Sr', 'Ti', 'Nb', 'Cr', 'Fe', 'Ni', 'Ag', 'Al', 'In', 'Sn', 'C', 'N', 'As', 'O', 'Se', 'Cl',
)  # fmt: skip
OF_DRIFT = (
    'Na', 'Rb', 'Ca', 'Ba', 'Zr', 'V', 'Mo', 'Co', 'Pd', 'Cu', 'Ga', 'Zn', 'Ge', 'Si', 'P', 'Sb', 'S', 'F', 'Br',
)  # fmt: skip
# Numbers of atoms of each element in a formula, and in the whole formula.
MAX_COUNT, MAX_ATOMS_OF_FORMULA = 4, 7
# A formula is drawn from this number of the smallest balanced ones.
N_SMALLEST = 4
MAX_ATOMS = 16
N_TRIALS = 100
PERTURBATION = PerturbSettings(isotropic_strain=0.04, anisotropic_strain=0.02, shear=0.02, rattle_A=0.08)
# In random crystals, atoms may be close. The energies of such crystals would dominate the loss.
VALIDATION = ValidationSettings(cell='as_given', min_distance_factor=0.75, max_redraws=5, on_failure='skip')


def replay_structures(
    elements: Collection[str], n: int, random_seed: int, supported: Collection[str] | None = None
) -> list[Atoms]:
    """Return crystals of chemical systems that share elements with a dataset, but also contain others.

    They are crystals of known structure types and random crystals, with randomly chosen formulas, strained and rattled.
    Each contains at least one element of the dataset and one of `OF_REPLAY`.

    Parameters
    ----------
    elements
        The elements of the dataset.
    n
        Number of structures.
    random_seed
        Random seed. With the same seed, a larger ``n`` only adds structures at the end.
    supported
        The elements that the model supports; by default, all.

    Raises
    ------
    AutopipeError
        If the model supports no other element of `OF_REPLAY`, or not enough crystals can be made.
    """
    partners = _partners(OF_REPLAY, elements, supported)
    return _crystals(sorted(set(elements)), partners, n, random_seed, 'replay')


def drift_structures(
    elements: Collection[str], n: int, random_seed: int, supported: Collection[str] | None = None
) -> list[Atoms]:
    """Return crystals of chemical systems that `replay_structures` never returns, to measure the drift of a model.

    Each contains at least one element of `OF_DRIFT` and none of `OF_REPLAY` except those of the dataset. One half of
    them contains elements of the dataset, and the other half contains none.

    Parameters
    ----------
    elements, n, random_seed, supported
        As for `replay_structures`.

    Raises
    ------
    AutopipeError
        If the model supports no other element of `OF_DRIFT`, or not enough crystals can be made.
    """
    partners = _partners(OF_DRIFT, elements, supported)
    n_others = n // 2 if len(partners) > 1 else 0
    return [
        *_crystals(sorted(set(elements)), partners, n - n_others, random_seed, 'drift'),
        *_crystals(partners, partners, n_others, random_seed, 'drift of other elements'),
    ]


def read_replay_file(
    path: Path, elements: Collection[str], supported: Collection[str] | None
) -> tuple[list[Atoms], tuple[str, ...]]:
    """Return the structures of a file that may be replayed, and what was left out.

    Parameters
    ----------
    path
        A file in any format that ASE reads.
    elements
        The elements of the dataset. Frames that contain no others are left out.
    supported
        The elements that the model supports; frames with others are left out. None if they are unknown.

    Raises
    ------
    AutopipeError
        If the file cannot be read, or no frame is left.
    """
    try:
        frames = read(path, ':')
    except Exception as error:  # the readers of ASE raise exceptions of various types
        raise AutopipeError(Code.FILE_UNREADABLE, f'training.replay_file: {path} cannot be read: {error}') from error
    labelled = [frame for frame in frames if is_labelled_system(frame, elements)]
    unknown = [frame for frame in frames if supported is not None and not set(frame.symbols) <= set(supported)]
    left_out = {id(frame) for frame in (*labelled, *unknown)}
    kept = [frame for frame in frames if id(frame) not in left_out]
    reasons = (
        (labelled, 'contain only elements of the dataset, so they would teach the errors that its labels correct'),
        (unknown, 'contain elements that the model does not support'),
    )
    notes = tuple(
        f'training.replay_file: {len(some)} of {counted(len(frames), "frame")} left out, because they {reason}'
        for some, reason in reasons
        if some
    )
    if not kept:
        raise AutopipeError(
            Code.VALUE_INVALID,
            f'training.replay_file: no frame of {path} is left ({"; ".join(notes) or "it is empty"}); use frames of '
            'other chemical systems',
        )
    return [Atoms(one.numbers, one.positions, cell=one.cell, pbc=one.pbc) for one in kept], notes


def is_labelled_system(atoms: Atoms, elements: Collection[str]) -> bool:
    """Return whether a structure contains no elements but those of a dataset, so that it must not be replayed."""
    return set(atoms.symbols) <= set(elements)


def _partners(candidates: Collection[str], elements: Collection[str], supported: Collection[str] | None) -> list[str]:
    found = [symbol for symbol in candidates if symbol not in elements and (supported is None or symbol in supported)]
    if not found:
        raise AutopipeError(
            Code.ELEMENT_UNSUPPORTED,
            f'the model supports none of the elements whose compounds are made: {", ".join(candidates)}; use a model '
            'that supports more elements',
        )
    return found


def _crystals(elements: list[str], partners: list[str], n: int, random_seed: int, label: str) -> list[Atoms]:
    """Return crystals of randomly chosen formulas: for each, the smallest known structure type and a random crystal.

    Each contains an element, a partner and, every third time, another element or partner.
    """
    crystals: list[Atoms] = []
    for number in range(n + N_TRIALS):
        if len(crystals) >= n:
            break
        own, rng = elements[number % len(elements)], make_rng(random_seed, label, str(number))
        system = _draw_system(own, elements if number % 3 == 2 else [], partners, rng)
        formula = _draw_formula(system, rng)
        if formula is None:
            continue
        entry = FormulaSettings(
            formula=formula, max_prototypes=1, n_random=1, n_seeds=2, formula_units=(1, 2), perturb=PERTURBATION,
            validation=VALIDATION,
        )  # fmt: skip
        seed = derive_random_seed(random_seed, label, str(number))
        crystals += [atoms for atoms in _make(entry, seed) if len(atoms) <= MAX_ATOMS]
    if len(crystals) < n:
        raise AutopipeError(
            Code.SEEDS_MISSING, f'only {counted(len(crystals), "crystal")} of {n} could be made ({label})'
        )
    return crystals[:n]


def _make(entry: FormulaSettings, random_seed: int) -> list[Atoms]:
    """Return the valid crystals of an entry, as plain structures."""
    try:
        seeds = generate_seeds([entry], random_seed=random_seed, cutoff_A=0.0).seeds
    except AutopipeError as error:
        if error.code is not Code.SEEDS_MISSING:
            raise
        return []
    return [Atoms(seed.atoms.numbers, seed.atoms.positions, cell=seed.atoms.cell, pbc=True) for seed in seeds]


def _draw_system(own: str, others: list[str], partners: list[str], rng: np.random.Generator) -> tuple[str, ...]:
    """Return an element, a partner and, if `others` is not empty, a third element."""
    system = {own, str(rng.choice([symbol for symbol in partners if symbol != own]))}
    rest = sorted({*others, *partners} - system)
    if others and rest:
        system.add(str(rng.choice(rest)))
    return tuple(sorted(system, key=atomic_numbers.__getitem__))


def _draw_formula(system: tuple[str, ...], rng: np.random.Generator) -> str | None:
    """Return a formula with balanced oxidation states, or one of metals only; None if there is none."""
    known = [
        numbers
        for numbers in product(range(1, MAX_COUNT + 1), repeat=len(system))
        if gcd(*numbers) == 1 and sum(numbers) <= MAX_ATOMS_OF_FORMULA
    ]
    # Small formulas are more common, and more of them have a known structure type.
    balanced = (
        counts for counts in sorted(known, key=sum) if guess_states(dict(zip(system, counts, strict=True))) is not None
    )
    smallest = list(islice(balanced, N_SMALLEST))
    if not smallest:
        return None
    drawn = smallest[rng.integers(len(smallest))]
    return ''.join(f'{symbol}{number}' for symbol, number in zip(system, drawn, strict=True))

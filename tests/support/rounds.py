"""Datasets of rounds: copper cells with labels from EMT, whose rows have groups, roles and rounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import Provenance, Row, export_dataset, make_row

RowOfRound = tuple[str, str | None, int]
"""The group, the role and the round of a row."""


def rows_of_rounds(rows: Sequence[RowOfRound]) -> list[Row]:
    """Return rows, each with a different structure."""
    return [_make_row(*one, step=10 * place + one[2]) for place, one in enumerate(rows)]


def dataset_of_rounds(folder: Path, rows: Sequence[RowOfRound], name: str = 'rounds.db') -> DatasetData:
    """Return a stored dataset of such rows."""
    export_dataset(folder / name, rows_of_rounds(rows))
    return DatasetData.from_file(folder / name).store()


def _make_row(parent: str, role: str | None, number: int, step: int) -> Row:
    atoms = bulk('Cu', cubic=True)
    atoms.rattle(0.1, seed=step)
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
    atoms.calc = SinglePointCalculator(atoms, **results)
    provenance = Provenance(
        campaign='rounds',
        random_seed=3,
        config_sha256='1' * 64,
        seed_id=f'{hash_of(parent):016d}',
        exploration=f'00000000-0000-0000-0000-{step:012d}',
        step=step,
        ensemble='nvt',
        architecture='emt',
        rank=0,
        split='test' if role == 'test' else 'train',
        role=role,
        round=number,
    )
    return make_row(atoms, provenance, {'kind': 'alloy', 'parent': parent})


def hash_of(parent: str) -> int:
    """Return a number that identifies a group."""
    return int.from_bytes(parent.encode()[:6], 'big')

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import export_dataset, make_row
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.training.split_dataset import split_dataset


def labelled(atoms):
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture
def make_groups(make_provenance):
    """Return a function that makes the rows of n groups of three frames: six groups of alloys, then of surfaces."""

    def make(n):
        rows = []
        for group in range(n):
            for step in range(3):
                atoms = bulk('Cu', cubic=True)
                atoms.numbers[0] = 79
                atoms.rattle(0.1, seed=10 * group + step)
                record = {'kind': 'alloy' if group < 6 else 'surface', 'parent': f'parent{group}'}
                rows.append(make_row(labelled(atoms), make_provenance(step=step), record))
        return rows

    return make


def test_sets_with_different_levels_are_refused_for_training_and_reported_otherwise(make_groups, tmp_path):
    rows = make_groups(10)
    other = LevelOfTheory(method='mlip', code='emt', name='mlip:emt', parameters={'precision': 'float32'})
    for row in rows[18:]:
        row.key_value_pairs['level'] = row.data['level'] = other.hash
        row.data['level'] = other.model_dump()
    export_dataset(tmp_path / 'cu.db', rows)
    with refused(Code.LEVELS_MIXED, 'precision'):
        split_dataset(tmp_path / 'cu.db', tmp_path / 'a.extxyz', {'hold_out': 'surface'})
    assert [path.name for path in tmp_path.iterdir()] == ['cu.db']
    warnings = split_dataset(tmp_path / 'cu.db', None, {'hold_out': 'surface'}).report['warnings']
    assert any('2 levels of theory' in warning for warning in warnings)


def test_no_set_is_written_if_the_config_of_a_trainer_cannot_be_made(make_groups, tmp_path):
    rows = make_groups(10)
    for row, energy in zip(rows, [-1.0] * 15 + [-2.0] * 15, strict=True):
        row.data['isolated_atoms'] = {'Cu': energy}
    export_dataset(tmp_path / 'cu.db', rows)
    with refused(Code.LEVELS_MIXED, 'Cu'):
        split_dataset(tmp_path / 'cu.db', tmp_path / 'cu.extxyz', trainers=['mace'])
    assert [path.name for path in tmp_path.iterdir()] == ['cu.db']

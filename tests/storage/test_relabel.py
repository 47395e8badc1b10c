from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, export_dataset
from aiida_mlip_autopipe.storage.metadata import differing_fields
from aiida_mlip_autopipe.storage.relabel import choose_labels, relabel
from aiida_mlip_autopipe.structures.rows.keys import LEVEL, current_pairs
from aiida_mlip_autopipe.structures.rows.labels import RowLabels, other_labels, present_labels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import Software
from aiida_mlip_autopipe.structures.rows.row import Row, isolated_atom_energies

GPAW = Software(
    architecture='gpaw', calculator_version='26.7', ase_version='3.29.0', environment='env-0123456789abcdef'
)


def dft_level(cutoff_eV=400):
    parameters = {'version': '26.7', 'functional': 'PBE', 'cutoff_eV': cutoff_eV}
    return LevelOfTheory(method='dft', code='gpaw', name='dft:gpaw:PBE', parameters=parameters)


def dft_labels(row, energy=-7.25, **changes):
    n = len(row.atoms)
    results = {'energy': energy, 'forces': np.arange(3.0 * n).reshape(n, 3) / 7, 'stress': np.linspace(-0.1, 0.2, 6)}
    about = {'isolated_atoms': {'Cu': -0.5, 'Au': -0.25}, 'labelling': {'seconds': 12.5, 'threads': 2}}
    return RowLabels(**{'results': results, 'level': dft_level(), 'software': GPAW, 'about': about} | changes)


@pytest.fixture
def row(make_rows):
    """Return a row with labels of a model with a hash, and energies of isolated atoms."""
    (row,) = make_rows(1, architecture='mace', model='small.model', model_sha256='ab' * 32, calculator_version='0.3')
    return replace(row, data=row.data | {'isolated_atoms': {'Cu': 3.5, 'Au': 3.8}})


def assert_same(first, second):
    np.testing.assert_equal(first.labels, second.labels)
    assert differing_fields(first, second) == []
    assert list(first.atoms.constraints[0].index) == list(second.atoms.constraints[0].index)


def test_a_row_gets_new_labels_and_keeps_the_previous_ones_with_their_metadata(row):
    labels = dft_labels(row)
    labelled = relabel(row, labels)
    np.testing.assert_equal(labelled.labels, labels.results)
    assert labelled.level.hash == labelled.key_value_pairs[LEVEL] == dft_level().hash
    assert labelled.data['isolated_atoms'] == {'Cu': -0.5, 'Au': -0.25}
    assert labelled.data['labelling'] == {'seconds': 12.5, 'threads': 2}
    assert labelled.provenance.labelled == GPAW
    assert labelled.provenance.explored.architecture == 'mace'
    assert labelled.key_value_pairs['environment'] == 'env-0123456789abcdef'
    assert 'model_sha256' not in labelled.key_value_pairs
    np.testing.assert_array_equal(labelled.atoms.positions, row.atoms.positions)
    assert labelled.atoms.constraints[0].index.tolist() == [0, 1, 2, 3]
    (key, other), *rest = other_labels(labelled).items()
    assert (key, rest) == (row.level.name, [])
    np.testing.assert_equal(other.results, row.labels)
    assert other.software == row.provenance.labelled
    assert other.about == {'isolated_atoms': {'Cu': 3.5, 'Au': 3.8}}


def test_choosing_other_labels_and_then_the_original_ones_gives_the_same_row(row, tmp_path):
    labelled = relabel(row, dft_labels(row))
    (back,) = choose_labels([labelled], 'mlip')
    assert back.key_value_pairs == row.key_value_pairs
    np.testing.assert_equal(back.labels, row.labels)
    assert back.provenance == row.provenance
    assert isolated_atom_energies([back]) == {'Cu': 3.5, 'Au': 3.8}
    assert_same(choose_labels([back], 'dft')[0], labelled)
    # Also after a database has stored the row.
    export_dataset(tmp_path / 'both.db', [labelled])
    with Dataset(tmp_path / 'both.db') as dataset:
        assert_same(choose_labels(choose_labels(dataset.query(), 'mlip'), 'dft')[0], labelled)


def test_labels_are_chosen_by_the_name_and_the_hash_of_their_level(row):
    labelled = relabel(row, dft_labels(row))
    for choice in (row.level.name, row.level.hash, 'mlip'):
        assert choose_labels([labelled], choice)[0].level_hash == row.level_hash
    for choice in ('dft:gpaw:PBE', dft_level().hash, 'dft'):
        assert choose_labels([labelled], choice)[0] is labelled


def test_a_row_without_the_chosen_labels_is_refused_and_the_error_lists_the_levels(row):
    labelled = replace(relabel(row, dft_labels(row)), id=1)
    rows = [labelled, replace(row, id=2), replace(row, id=3)]
    with refused(Code.LABELS_MISSING, '2 of 3 rows', 'match dft', 'row 2', row.level.hash, dft_level().hash):
        choose_labels(rows, 'dft')
    with refused(Code.LABELS_MISSING, '3 of 3 rows', 'dft:vasp'):
        choose_labels(rows, 'dft:vasp')
    assert len(choose_labels(rows, 'mlip')) == 3


def test_a_choice_that_several_labels_match_is_refused_unless_a_hash_tells_them_apart(row):
    second = relabel(relabel(row, dft_labels(row)), dft_labels(row, -8.0, level=dft_level(600)))
    (third,) = choose_labels([second], 'mlip')
    with refused(Code.LEVELS_MIXED, dft_level(400).hash, dft_level(600).hash):
        choose_labels([third], 'dft')
    assert choose_labels([third], dft_level(400).hash)[0].labels['energy'] == -7.25
    # The current labels come first, so the choice is not ambiguous here.
    assert choose_labels([second], 'dft')[0].labels['energy'] == -8.0


def test_a_row_has_one_set_of_labels_at_a_level(row):
    again = relabel(relabel(row, dft_labels(row)), dft_labels(row, -7.5))
    assert again.labels['energy'] == -7.5
    assert list(other_labels(again)) == [row.level.name]


def test_labels_kept_by_an_earlier_version_have_the_software_that_explored_the_frame(row):
    labelled = relabel(row, dft_labels(row))
    old = dict(labelled.data['labels_before'][row.level.name])
    del old['software'], old['isolated_atoms']
    labelled = replace(labelled, data=labelled.data | {'labels_before': {row.level.name: old}})
    (back,) = choose_labels([labelled], 'mlip')
    assert back.provenance.labelled == row.provenance.explored
    assert back.key_value_pairs == row.key_value_pairs
    assert isolated_atom_energies([back]) is None


def test_imported_rows_without_provenance_keep_their_keys():
    atoms = Atoms('CuAu', positions=[[0, 0, 0], [0, 0, 2.5]], cell=[5, 5, 5], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.zeros((2, 3)))
    level = LevelOfTheory(method='dft', code='vasp', name='dft:vasp:pbe', parameters={'cutoff_eV': 520})
    data = {LEVEL: level.model_dump()}
    row = Row(atoms, current_pairs({'seed': 'file-1', 'step': 3, 'label_source': level.name}, data), data)
    labelled = relabel(row, dft_labels(row))
    # ASE refuses text that is a number.
    assert labelled.key_value_pairs['calculator_version'] == '_26.7'
    assert present_labels(labelled).software == GPAW
    (back,) = choose_labels([labelled], 'dft:vasp:pbe')
    assert back.key_value_pairs == row.key_value_pairs
    assert 'stress' not in back.labels
    assert choose_labels([back], 'dft:gpaw:PBE')[0].key_value_pairs == labelled.key_value_pairs

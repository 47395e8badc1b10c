import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, Row, export_dataset
from aiida_mlip_autopipe.storage.merge import compare_datasets, merge_datasets


@pytest.fixture
def write(tmp_path):
    def write_rows(name, rows):
        export_dataset(tmp_path / name, rows)
        return tmp_path / name

    return write_rows


def test_a_merged_dataset_contains_every_frame_once(make_rows, write, tmp_path):
    first, second = write('a.db', make_rows(3)), write('b.db', make_rows(5)[2:])
    assert merge_datasets([first, second], tmp_path / 'all.db') == 5
    with Dataset(tmp_path / 'all.db') as dataset:
        assert [row.provenance.step for row in dataset.query()] == [0, 1, 2, 3, 4]
    difference = compare_datasets(tmp_path / 'all.db', write('complete.db', make_rows(5)))
    assert (difference.same, difference.changed) == (5, ())


def test_datasets_with_different_levels_of_theory_are_not_merged(make_rows, write, tmp_path):
    sources = [write('a.db', make_rows(1)), write('b.db', make_rows(1, label_source='dft:vasp:pbe'))]
    with refused(Code.LEVELS_MIXED, 'dft:vasp:pbe, mlip:emt'):
        merge_datasets(sources, tmp_path / 'all.db')
    assert not (tmp_path / 'all.db').exists()


def test_a_frame_with_different_labels_is_refused(make_rows, write, tmp_path):
    rows = make_rows(2)
    rows[1].atoms.calc.results['energy'] += 1e-12
    with refused(Code.FRAMES_DIFFER, 'b.db', 'step 1 of seed-1234567890123456'):
        merge_datasets([write('a.db', make_rows(2)), write('b.db', rows)], tmp_path / 'all.db')


def test_a_difference_lists_the_rows(make_rows, write):
    rows = make_rows(4)
    rows[1].atoms.positions[0, 0] += 1e-9
    rows[1].atoms.calc.atoms.positions[0, 0] += 1e-9
    difference = compare_datasets(write('a.db', make_rows(3)), write('b.db', rows[1:]))
    assert [identity[1] for identity in difference.only_first] == [0]
    assert [identity[1] for identity in difference.only_second] == [3]
    assert difference.changed == (('seed-1234567890123456', 1, 'mlip:emt'),)
    assert difference.same == 1


def test_rows_that_do_not_come_from_a_campaign_are_refused(make_rows, write):
    path = write('a.db', [Row(make_rows(1)[0].atoms, {'label_source': 'mlip:emt'})])
    with refused(Code.ROW_KEY_MISSING, 'row 1', 'a.db', 'seed'):
        compare_datasets(path, path)


@pytest.mark.parametrize('lost', ['constraints', 'tags', 'moments', 'charges'])
def test_structures_that_lost_a_property_differ_and_are_not_merged(make_rows, write, tmp_path, lost):
    complete, stripped = make_rows(2), make_rows(2)
    for rows in (complete, stripped):
        for row in rows:
            row.atoms.set_initial_charges(range(len(row.atoms)))
            row.atoms.calc.atoms = row.atoms.copy()
    atoms = stripped[1].atoms
    {
        'constraints': atoms.set_constraint,
        'tags': lambda: atoms.set_tags(0),
        'moments': lambda: atoms.set_initial_magnetic_moments(None),
        'charges': lambda: atoms.set_initial_charges(None),
    }[lost]()
    stripped[1].atoms.calc.atoms = atoms.copy()
    first, second = write('a.db', complete), write('b.db', stripped)
    difference = compare_datasets(first, second)
    assert difference.changed == (('seed-1234567890123456', 1, 'mlip:emt'),)
    assert difference.same == 1
    with refused(Code.FRAMES_DIFFER, 'b.db', 'step 1 of seed-1234567890123456'):
        merge_datasets([first, second], tmp_path / 'all.db')

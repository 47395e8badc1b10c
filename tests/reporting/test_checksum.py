from dataclasses import replace

import numpy as np
import pytest

from aiida_mlip_autopipe.reporting.checksum import content_checksum
from aiida_mlip_autopipe.storage import Dataset, export_dataset


def test_the_checksum_does_not_depend_on_the_file_or_the_order(tmp_path, make_rows):
    rows = make_rows(4)
    found = set()
    for name, order in (('a', rows), ('b', rows[::-1])):
        export_dataset(tmp_path / f'{name}.db', order)
        with Dataset(tmp_path / f'{name}.db') as dataset:
            found.add(content_checksum(dataset.query()))
    assert found == {content_checksum(rows)}
    assert found.pop().startswith('sha256:')


@pytest.mark.parametrize('change', ['energy', 'forces', 'tags', 'constraint', 'pairs', 'data', 'missing', 'twice'])
def test_each_change_of_the_content_changes_the_checksum(make_rows, change):
    rows = make_rows(2)
    before = content_checksum(rows)
    atoms = rows[0].atoms
    if change == 'energy':
        atoms.calc.results['energy'] = np.nextafter(atoms.calc.results['energy'], 0)
    elif change == 'forces':
        atoms.calc.results['forces'][0, 0] *= 1 + 1e-15
    elif change == 'tags':
        atoms.set_tags(atoms.get_tags() + 1)
    elif change == 'constraint':
        atoms.set_constraint()
    elif change == 'pairs':
        rows[0] = replace(rows[0], key_value_pairs=rows[0].key_value_pairs | {'split': 'train'})
    elif change == 'data':
        rows[0].data['isolated_atoms'] = {'Cu': 1.0}
    else:
        rows = rows[:1] if change == 'missing' else [*rows, rows[0]]
    assert content_checksum(rows) != before

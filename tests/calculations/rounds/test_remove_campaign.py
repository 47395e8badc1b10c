"""The rows of two campaigns that differ only in name and config become the same dataset."""

from aiida import orm
from support.rounds import rows_of_rounds

from aiida_mlip_autopipe.calculations.rounds.remove_campaign import remove_campaign
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import export_dataset, make_row

ROWS = [('a', None, 1), ('b', 'test', 1), ('c', 'calibration', 2)]
EXTENDED = {'name': 'first', 'uuid': '0' * 32}


def dataset_of(path, **fields):
    """Return the rows with other fields in their provenance."""
    rows = [
        make_row(row.atoms, type(row.provenance).model_validate(row.data['provenance'] | fields), row.data['seed'])
        for row in rows_of_rounds(ROWS)
    ]
    export_dataset(path, rows)
    return DatasetData.from_file(path).store()


def remove(dataset):
    found, node = remove_campaign.run_get_node(dataset=dataset, stage_version=orm.Str('test'))
    assert node.is_finished_ok, node.exit_message
    return found


def test_the_rows_do_not_depend_on_the_campaign_but_on_everything_else(tmp_path):
    first = dataset_of(tmp_path / 'first.db')
    second = dataset_of(tmp_path / 'second.db', campaign='second', config_sha256='2' * 64, extends=EXTENDED)
    other = dataset_of(tmp_path / 'other.db', random_seed=4)
    hashes = [node.base.attributes.get('sha256') for node in (first, second, *map(remove, (first, second, other)))]
    assert hashes[0] != hashes[1]
    assert hashes[2] == hashes[3] != hashes[4]
    rows = remove(second).rows()
    kept = [(row.key_value_pairs['parent'], row.provenance.role, row.provenance.round) for row in rows]
    assert kept == ROWS
    assert all(row.provenance.extends is None for row in rows)
    for row, expected in zip(rows, second.rows(), strict=True):
        assert row.labels['energy'] == expected.labels['energy']
        differing = {name for name, value in row.key_value_pairs.items() if value != expected.key_value_pairs[name]}
        assert differing == {'campaign', 'config_sha256'}

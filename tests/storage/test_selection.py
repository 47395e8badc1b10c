"""Selections work as users type them, also for datasets of earlier versions."""

from dataclasses import replace

import pytest
from ase.db import connect
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, export_dataset, make_row


@pytest.fixture
def current(slab, make_provenance, tmp_path):
    rows = [
        make_row(
            slab,
            make_provenance(step=step, target_temperature_K=300.0 * (step + 1)),
            {'kind': kind, 'label': label, 'parent': 'p'},
        )
        for step, (kind, label) in enumerate([('surface', 'hot'), ('surface', '77'), ('alloy', 'hot')])
    ]
    export_dataset(tmp_path / 'current.db', rows)
    return tmp_path / 'current.db'


@pytest.fixture
def old(current, tmp_path):
    """Return the same dataset as an earlier version wrote it."""
    with Dataset(current) as dataset, connect(tmp_path / 'old.db') as database:
        for row in dataset.query():
            pairs = {
                ('seed_kind' if key == 'kind' else key): value
                for key, value in row.key_value_pairs.items()
                if key not in ('level', 'label', 'temperature')
            }
            data = {key: value for key, value in row.data.items() if key != 'level'}
            database.write(row.atoms, key_value_pairs=pairs, data=data)
    return tmp_path / 'old.db'


@pytest.mark.parametrize('name', ['current', 'old'])
@pytest.mark.parametrize(
    ('selection', 'steps'),
    [
        ('kind=surface', [0, 1]),
        ('kind = surface, label = hot', [0]),
        ('label=77', [1]),
        ('label!=hot', [1]),
        ('temperature>500', [1, 2]),
        ('temperature<=600,kind=surface,Cu>2', [0, 1]),
        ('step>0', [1, 2]),
        ('kind=bulk', []),
        ('Au', [0, 1, 2]),
    ],
)
def test_rows_are_selected_by_the_keys_that_users_type(request, name, selection, steps):
    with Dataset(request.getfixturevalue(name)) as dataset:
        assert [row.key_value_pairs['step'] for row in dataset.query(selection)] == steps


@pytest.mark.parametrize(
    ('selection', 'code', 'values'),
    [
        ('kind==surface', Code.SELECTION_MALFORMED, ["'kind==surface'", 'kind=surface,label=hot']),
        ('kind:surface', Code.SELECTION_MALFORMED, ["'kind:surface'"]),
        ('step>0,,kind=alloy', Code.SELECTION_MALFORMED, ["''", 'kind=alloy']),
        ('kind=', Code.SELECTION_MALFORMED, ["'kind='"]),
        ('formula=Xx', Code.SELECTION_MALFORMED, ['formula=Xx']),
        ('natoms>many', Code.SELECTION_MALFORMED, ['natoms>many']),
        ('colour=red', Code.KEY_UNKNOWN, ['colour', 'label_source', 'temperature']),
        ('Temperatur>300', Code.KEY_UNKNOWN, ["did you mean 'temperature'"]),
        ('temperature>abc', Code.SELECTION_MALFORMED, ["'temperature>abc'", "'abc'"]),
        ('kind=alloy,step!=last', Code.SELECTION_MALFORMED, ["'step!=last'"]),
        ('300<temperature<hot', Code.SELECTION_MALFORMED, ["'hot'"]),
        ('volume>large', Code.SELECTION_MALFORMED, ["'volume>large'"]),
        ('temperature=nan', Code.SELECTION_MALFORMED, ["'nan'"]),
        ('seed_kind=alloy', Code.KEY_RENAMED, ['seed_kind', "'kind'"]),
    ],
)
def test_a_selection_that_cannot_be_evaluated_is_refused(current, selection, code, values):
    with Dataset(current) as dataset, refused(code, *values):
        list(dataset.query(selection))


def test_numbers_are_not_compared_with_text_in_datasets_of_earlier_versions(old):
    with Dataset(old) as dataset, refused(Code.SELECTION_MALFORMED, "'temperature>abc'"):
        list(dataset.query('temperature>abc'))


def test_a_key_that_is_text_in_some_rows_is_compared_with_text(make_rows, tmp_path):
    rows = make_rows(2)
    for row, value in zip(rows, (1, 'one'), strict=True):
        row.key_value_pairs['mine'] = value
    export_dataset(tmp_path / 'a.db', rows)
    with Dataset(tmp_path / 'a.db') as dataset:
        assert [row.id for row in dataset.query('mine=one')] == [2]


def test_a_row_that_is_written_again_has_the_current_keys(old, tmp_path):
    with Dataset(old) as dataset:
        export_dataset(tmp_path / 'new.db', (replace(row, id=None) for row in dataset.query()))
    with connect(tmp_path / 'new.db') as database:
        row = next(database.select(kind='surface', label='hot'))
    assert 'seed_kind' not in row.key_value_pairs


@pytest.mark.parametrize('name', ['current', 'old'])
@pytest.mark.parametrize(('selection', 'steps'), [('300<temperature<=600', [1]), ('300<=temperature<900', [0, 1])])
def test_rows_are_selected_by_an_interval_of_a_key_that_old_rows_lack(request, name, selection, steps):
    with Dataset(request.getfixturevalue(name)) as dataset:
        assert [row.key_value_pairs['step'] for row in dataset.query(selection)] == steps

"""Damaged datasets, and damaged files from which labels are read."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest
from support.errors import refused
from support.properties import changed, damaged, examples, given, little_memory, st, thoroughly
from support.pw_runs import crystal, finish_calculations, label_by_emt, layer
from support.rows import _make_provenance

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage import Dataset, export_dataset
from aiida_mlip_autopipe.storage.dft import label_rows
from aiida_mlip_autopipe.storage.dft.base import read_result
from aiida_mlip_autopipe.storage.dft.vasp import Vasp


@pytest.fixture(scope='module')
def rows():
    provenances = (_make_provenance(seed_id=seed_id, step=10) for seed_id in ('abc0', 'abc1'))
    return [label_by_emt(*pair) for pair in zip((crystal(), layer()), provenances, strict=True)]


def read_all(path):
    with little_memory(), contextlib.suppress(AutopipeError), Dataset(path) as dataset:
        for row in dataset.query():
            assert row.labels
            assert row.level_hash is not None
            assert row.provenance


@thoroughly
def test_a_damaged_dataset_is_refused_or_its_rows_are_complete(profile, rows, tmp_path):
    export_dataset(tmp_path / 'a.db', rows)
    content, path = (tmp_path / 'a.db').read_bytes(), tmp_path / 'b.db'

    @examples(profile)
    @given(damaged(content))
    def run(data):
        path.write_bytes(data)
        read_all(path)

    run()


@thoroughly
def test_a_row_with_a_damaged_value_is_refused_or_is_complete(profile, rows, tmp_path):
    """The pages of the file are intact, so SQLite reads them."""
    export_dataset(tmp_path / 'a.db', rows)
    content, path = (tmp_path / 'a.db').read_bytes(), tmp_path / 'b.db'
    columns = (
        'numbers',
        'positions',
        'cell',
        'pbc',
        'energy',
        'forces',
        'stress',
        'key_value_pairs',
        'data',
        'constraints',
    )
    with sqlite3.connect(path if path.exists() else tmp_path / 'a.db') as connection:
        stored = {
            name: connection.execute(f'SELECT {name} FROM systems WHERE id = 1').fetchone()[0] for name in columns
        }

    def damaged_value(name):
        value = stored[name]
        data = value if isinstance(value, bytes) else str(value).encode()
        others = st.sampled_from(
            [None, b'', '', 'NaN', 1e400, -1, 2**40, b'\x00' * 7, '[1', '{"__ndarray__": [[9], "O", []]}']
        )
        kind = bytes if isinstance(value, bytes) else lambda one: one.decode(errors='replace')
        return st.one_of(others, damaged(data).map(kind)).map(lambda new: (name, new))

    @examples(profile)
    @given(st.sampled_from(columns).flatmap(damaged_value))
    def run(change):
        path.write_bytes(content)
        name, value = change
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(f'UPDATE systems SET {name} = ? WHERE id = 1', (value,))
        read_all(path)

    run()


@thoroughly
def test_damaged_calculations_are_refused_or_label_only_their_rows(profile, rows, tmp_path):
    folder = finish_calculations(tmp_path / 'runs', rows)
    files = {path: path.read_bytes() for name in ('row.json', 'pw.out') for path in sorted(folder.rglob(name))}

    def damaged_file(path):
        data = damaged(files[path])
        if path.suffix == '.json':
            altered = changed(json.loads(files[path])).map(lambda one: json.dumps(one).encode())
            data = st.one_of(data, altered)
        return data.map(lambda content: (path, content))

    @examples(profile)
    @given(st.sampled_from(list(files)).flatmap(damaged_file))
    def run(change):
        path, content = change
        path.write_bytes(content)
        with little_memory(), contextlib.suppress(AutopipeError):
            assert len(label_rows(folder, rows).rows) <= 2
        path.write_bytes(files[path])

    run()


def test_entities_that_expand_are_not_read_into_memory(tmp_path):
    names = 'abcdefghijk'
    entities = ''.join(f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in pairwise(names))
    text = f'<!DOCTYPE x [<!ENTITY a "{"a" * 100}">{entities}]><modeling>&k;</modeling>'
    (tmp_path / 'vasprun.xml').write_text(text)
    with little_memory(), refused(Code.CALCULATION_INCOMPLETE):
        read_result(Vasp, tmp_path)


def test_an_external_entity_is_not_read(tmp_path):
    Path(tmp_path, 'secret').write_text('secret')
    text = f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{tmp_path}/secret">]><modeling>&a;</modeling>'
    (tmp_path / 'vasprun.xml').write_text(text)
    with refused(Code.CALCULATION_INCOMPLETE) as caught:
        read_result(Vasp, tmp_path)
    assert 'secret' not in str(caught.value)

"""Entries are dumped with keys instead of the paths of files, and read with paths again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from aiida_mlip_autopipe.core.fields import REPLACE_FILE
from aiida_mlip_autopipe.generation import GENERATORS, dump_entries, read_entries

SLABS = {'kind': 'surface', 'of': {'kind': 'structures', 'files': ['/a/slab.cif']}, 'miller_indices': [[1, 1, 1]]}
MOLECULES = [{'file': '/a/ion.xyz', 'charge': 0}, {'name': 'H2O', 'fraction': 0.5}]
ENTRIES = {
    'files': ({'kind': 'structures', 'files': ['/a/b.cif', '/a/c.cif']}, ['b.cif', 'c.cif']),
    'a nested entry': ({'kind': 'adsorption', 'of': SLABS, 'files': ['/a/co.xyz']}, ['slab.cif', 'co.xyz']),
    'a molecule': ({'kind': 'molecular', 'molecules': MOLECULES, 'density_g_per_cm3': 1}, ['ion.xyz']),
    'a crystal': ({'kind': 'molecular', 'molecules': MOLECULES[:1], 'packing': 'crystal'}, ['ion.xyz']),
    'a liquid': (
        {
            'kind': 'interface',
            'substrate': SLABS['of'],
            'substrate_miller': [1, 1, 1],
            'liquid': {'molecules': MOLECULES, 'density_g_per_cm3': 1},
        },
        ['slab.cif', 'ion.xyz'],
    ),
}  # fmt: skip


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation, and those in their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for argument in get_args(annotation):
        yield from models_in(argument)


def has_path(annotation: Any) -> bool:
    return annotation is Path or any(map(has_path, get_args(annotation)))


def path_fields() -> dict[str, FieldInfo]:
    models = {model for kind in GENERATORS for model in models_in(GENERATORS.load(kind).settings_class)}
    return {
        f'{model.__name__}.{name}': field
        for model in sorted(models, key=lambda model: model.__name__)
        for name, field in model.model_fields.items()
        if has_path(field.annotation)
    }


FIELDS = path_fields()


def test_the_search_finds_files_of_entries_and_of_molecules():
    assert {'StructuresSettings.files', 'AdsorptionSettings.files', 'MoleculeSettings.file'} <= FIELDS.keys()


@pytest.mark.parametrize('name', FIELDS)
def test_every_path_in_the_settings_is_replaced_by_a_key_and_restored(name):
    adapter = TypeAdapter(FIELDS[name].rebuild_annotation())
    is_list = any(Ellipsis in get_args(one) for one in (FIELDS[name].annotation, *get_args(FIELDS[name].annotation)))
    given, key = Path('/a/b.xyz'), 'file_1'
    dumped = adapter.dump_python((given,) if is_list else given, mode='json', context={REPLACE_FILE: {given: key}.get})
    assert dumped == ([key] if is_list else key)
    read = adapter.validate_python(dumped, context={REPLACE_FILE: {Path(key): given}.get})
    assert read == ((given,) if is_list else given)


@pytest.mark.parametrize(('entry', 'names'), ENTRIES.values(), ids=ENTRIES)
def test_entries_are_dumped_without_paths_and_read_unchanged(entry, names):
    (settings,) = read_entries([entry], Path)
    dumped = dump_entries([settings], lambda path: f'key_{path.name}')
    text = json.dumps(dumped)
    assert '/a/' not in text
    assert all(f'"key_{name}"' in text for name in names)
    assert read_entries(dumped, lambda key: Path('/a') / key.removeprefix('key_')) == (settings,)

import re

from ase.build import bulk
from ase.io import write as write_atoms

from aiida_mlip_autopipe.config import load_config, starter_config


def test_the_starter_file_is_valid_and_short(write):
    text = starter_config()
    config = load_config(write(text))
    assert (config.name, len(config.generation)) == ('my_campaign', 1)
    assert len(text.splitlines()) < 40
    assert len([line for line in text.splitlines() if line.strip() and not line.startswith('#')]) < 15


def test_the_starter_file_is_valid_with_all_options(write, tmp_path):
    for name in ('slab.cif', 'bulk.extxyz'):
        write_atoms(tmp_path / name, bulk('Cu'))
    text, n_options = re.subn(r'^#(?! \S)', '', starter_config(), flags=re.MULTILINE)
    assert n_options > 10
    config = load_config(write(text))
    assert [entry.kind for entry in config.generation] == ['alloy', 'structures']
    assert set(config.model_fields_set) == set(type(config).model_fields)
    assert '#' not in [line[:1] for line in text.splitlines() if not line.startswith('# ')]

import pytest
import yaml

from aiida_mlip_autopipe.storage import export_splits
from aiida_mlip_autopipe.training.write import write_trainer_config


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a config and its sets, and returns the content and the notes."""

    def write(rows, trainer='mace', splits=(*['train'] * 8, 'valid', 'test'), name='cu', **options):
        files, _ = export_splits(tmp_path / f'{name}.extxyz', rows, splits, overwrite=True)
        path = tmp_path / f'{name}-{trainer}.yaml'
        notes = write_trainer_config(path, trainer, files, rows, splits, random_seed=3, overwrite=True, **options)
        return yaml.safe_load(path.read_text()), notes

    return write


@pytest.fixture
def change(tmp_path):
    """Return a function that changes values in a config, to make the training as short as possible."""

    def change(name, **values):
        path = tmp_path / name
        config = yaml.safe_load(path.read_text())
        for section in [config, *(part for part in config.values() if isinstance(part, dict))]:
            section.update({key: value for key, value in values.items() if key in section})
        path.write_text(yaml.safe_dump(config, sort_keys=False))

    return change

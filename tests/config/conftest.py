from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_presets_of_the_user(tmp_path_factory, monkeypatch):
    home = tmp_path_factory.mktemp('config_home')
    monkeypatch.setenv('XDG_CONFIG_HOME', str(home))
    return home / 'mlip-autopipe' / 'presets'


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file in the folder of the test and returns its path."""

    def write_file(text: str | bytes, name: str = 'campaign.yaml') -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file

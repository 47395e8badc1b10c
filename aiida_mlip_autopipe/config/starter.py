"""The commented file to start from."""

from __future__ import annotations

from importlib.resources import files


def starter_config() -> str:
    """Return a config file with comments: a small campaign that runs as it is."""
    return files('aiida_mlip_autopipe.config').joinpath('starter.yaml').read_text(encoding='utf-8')

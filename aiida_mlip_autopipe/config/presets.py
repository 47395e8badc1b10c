"""Presets: named parts of a config, in the user's folders and in this package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import one_of

PRESET_SECTIONS = ('calculator', 'exploration', 'sampling', 'labelling', 'training', 'rounds', 'storage', 'execution')
"""The sections that can have presets."""

PACKAGE_FOLDER = Path(__file__).parent / 'presets'


def preset_folders(config_folder: Path) -> tuple[Path, ...]:
    """Return the folders that contain presets. Earlier folders take precedence.

    Parameters
    ----------
    config_folder
        The folder of the config file. Its subfolder ``presets`` comes first, then the folder of the user in
        ``~/.config/mlip-autopipe`` (or ``$XDG_CONFIG_HOME``), then the folder of this package.
    """
    home = Path(os.environ.get('XDG_CONFIG_HOME') or Path.home() / '.config')
    return config_folder / 'presets', home / 'mlip-autopipe' / 'presets', PACKAGE_FOLDER


def known_presets(section: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Return the files of the presets of a section by name."""
    known: dict[str, Path] = {}
    for folder in reversed(folders):
        known |= {file.stem: file for file in sorted((folder / section).glob('*.yaml'))}
    return known


def find_preset(section: str, name: str, folders: Sequence[Path]) -> Path:
    """Return the file of a preset.

    Raises
    ------
    AutopipeError
        If it does not exist. The message lists the existing presets.
    """
    known = known_presets(section, folders)
    if name in known:
        return known[name]
    listed = f'use {one_of(sorted(known))}' if known else 'this section has no presets'
    close = get_close_matches(name, known, n=1)
    hint = f'; did you mean {close[0]!r}?' if close else ''
    raise AutopipeError(Code.CHOICE_UNKNOWN, f'no preset {name!r} exists for {section}; {listed}{hint}')

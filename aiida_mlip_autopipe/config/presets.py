"""Presets: parts of a config by name, from the user's folders and from the package's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

PRESET_SECTIONS = ('calculator', 'exploration', 'sampling', 'storage', 'execution')
"""The sections that a preset can be mixed into."""

PACKAGE_FOLDER = Path(__file__).parent / 'presets'


def preset_folders(config_folder: Path) -> tuple[Path, ...]:
    """Return where presets are looked for, the first wins.

    Parameters
    ----------
    config_folder
        The folder of the config file: a ``presets`` folder there comes first, then the user's own under
        ``~/.config/mlip-autopipe`` (or ``$XDG_CONFIG_HOME``), then the package's.
    """
    home = Path(os.environ.get('XDG_CONFIG_HOME') or Path.home() / '.config')
    return config_folder / 'presets', home / 'mlip-autopipe' / 'presets', PACKAGE_FOLDER


def known_presets(section: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Return the presets of a section, name to file."""
    known: dict[str, Path] = {}
    for folder in reversed(folders):
        known |= {file.stem: file for file in sorted((folder / section).glob('*.yaml'))}
    return known


def find_preset(section: str, name: str, folders: Sequence[Path]) -> Path:
    """Return the file of a preset.

    Raises
    ------
    AutopipeError
        If there is none; the sentence lists those there are.
    """
    known = known_presets(section, folders)
    if name in known:
        return known[name]
    listed = f'there are {", ".join(sorted(known))}' if known else 'there is none for this section'
    close = get_close_matches(name, known, n=1)
    hint = f'; did you mean {close[0]!r}?' if close else ''
    raise AutopipeError(Code.CHOICE_UNKNOWN, f'there is no preset {name!r} for {section}; {listed}{hint}')

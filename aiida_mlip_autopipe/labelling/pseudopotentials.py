"""Pseudopotentials in the UPF format."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_numbers

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.hashing import file_sha256

# The names that the generators of pseudopotentials give to the functionals.
FUNCTIONALS = {
    'LDA': ('PZ', 'PW', 'LDA', 'SLA PZ NOGX NOGC', 'SLA PW NOGX NOGC'),
    'PBE': ('PBE', 'SLA PW PBE PBE', 'SLA PW PBX PBC'),
    'PBEsol': ('PBESOL', 'SLA PW PSX PSC'),
}


@dataclass(frozen=True)
class Pseudopotential:
    """A pseudopotential.

    Attributes
    ----------
    path
        Its file.
    element
        Symbol of its element.
    z_valence
        Number of valence electrons.
    functional
        Functional that it was generated with, in upper case; empty if the file does not name it.
    sha256
        sha256 of the file.
    """

    path: Path
    element: str
    z_valence: float
    functional: str
    sha256: str

    def has_functional(self, name: str) -> bool:
        """Return whether it was generated with a functional, such as ``PBE``."""
        return self.functional in FUNCTIONALS[name]


def read_pseudopotential(path: Path) -> Pseudopotential:
    """Read the header of a UPF file of version 1 or 2.

    Raises
    ------
    AutopipeError
        If the file is not a pseudopotential in this format.
    """
    text = path.read_text(errors='replace')
    element = _find(text, r'\belement\s*=\s*"\s*([A-Za-z]{1,2})\s*"', r'([A-Za-z]{1,2})\s+Element\b')
    z_valence = _find(text, r'\bz_valence\s*=\s*"\s*([^"\s]+)\s*"', r'(\S+)\s+Z valence\b')
    functional = _find(text, r'\bfunctional\s*=\s*"([^"]*)"', r'^(.*?)\s+Exchange-Correlation functional')
    if not atomic_numbers.get(element) or not z_valence:
        raise AutopipeError(Code.FILE_UNREADABLE, f'{path}: this is not a pseudopotential in the UPF format')
    # Version 1 repeats the name of the functional after the names of its four parts.
    functional = ' '.join(functional.upper().replace('-', ' ').split()[:4])
    return Pseudopotential(path, element, float(z_valence), functional, file_sha256(path))


def files_in(folder: Path) -> dict[str, Path]:
    """Return the file of each element in a folder with pseudopotentials.

    Raises
    ------
    AutopipeError
        If the folder contains no UPF file, two for one element, or a file in another format.
    """
    found: dict[str, Path] = {}
    for path in sorted(one for one in folder.iterdir() if one.suffix.lower() == '.upf'):
        element = read_pseudopotential(path).element
        if element in found:
            raise AutopipeError(
                Code.SETTINGS_REFUSED,
                f'{folder} has two pseudopotentials for {element}: {found[element].name} and {path.name}; '
                'name the file of each element instead of the folder',
            )
        found[element] = path
    if not found:
        raise AutopipeError(Code.FILE_MISSING, f'{folder} contains no file with the suffix .upf or .UPF')
    return found


def refuse_missing(given: Iterable[str], needed: Iterable[str]) -> None:
    """Refuse elements without a pseudopotential.

    Raises
    ------
    AutopipeError
        If an element has none.
    """
    if missing := sorted(set(needed) - set(given)):
        raise AutopipeError(
            Code.ELEMENT_UNSUPPORTED,
            f'labelling.pseudopotentials: no pseudopotential is given for {", ".join(missing)}',
        )


def _find(text: str, *patterns: str) -> str:
    for pattern in patterns:
        if match := re.search(pattern, text, re.MULTILINE | re.IGNORECASE):
            return match[1].strip()
    return ''

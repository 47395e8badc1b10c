"""GPAW's setups: their valence electrons, the cutoffs that stresses need, and their files. GPAW itself is not required.

The tables are those of the package ``gpaw-data`` 1.2, whose LDA and PBE setups treat the same electrons as valence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiida_mlip_autopipe.core.hashing import file_sha256

_TABLE = """
    H 1, He 2, Li 1, Be 2, B 3, C 4, N 5, O 6, F 7, Ne 8, Na 7, Mg 10, Al 3, Si 4, P 5, S 6, Cl 7,
    Ar 8, K 9, Ca 10, Sc 11, Ti 12, V 13, Cr 6, Mn 15, Fe 8, Co 9, Ni 16, Cu 11, Zn 12, Ga 3, Ge 4,
    As 5, Se 6, Br 7, Kr 8, Rb 9, Sr 10, Y 11, Zr 12, Nb 13, Mo 14, Ru 16, Rh 15, Pd 16, Ag 17, Cd
    12, In 13, Sn 14, Sb 15, Te 6, I 7, Xe 8, Cs 9, Ba 10, La 11, Ce 12, Pr 13, Nd 14, Pm 15, Sm 16,
    Eu 17, Gd 18, Tb 19, Dy 20, Ho 21, Er 22, Tm 23, Yb 24, Lu 25, Hf 12, Ta 13, W 14, Re 13, Os 14,
    Ir 15, Pt 16, Au 11, Hg 18, Tl 13, Pb 14, Bi 15, Rn 8
"""
VALENCE_ELECTRONS = {symbol: int(number) for symbol, number in (entry.split() for entry in _TABLE.split(','))}
"""The number of valence electrons of the default setup of each element."""

STRESS_CUTOFF_EV = {
    symbol: cutoff_eV
    for cutoff_eV, symbols in {
        400: 'B Ti Ni Zn Ru Rh Pd Ag Cd Sn Sb Os Ir Pt Au Hg Tl Pb',
        500: 'C Fe Cu In Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu',
        600: 'F Co',
        700: 'N O',
    }.items()
    for symbol in symbols.split()
}
"""The plane-wave cutoff in eV (a multiple of 100) below which the stress of an element has a large error.

GPAW's stress is the derivative of the energy at a fixed number of plane waves. A potential learns the derivative at a
fixed cutoff. They differ by ``2/3 Ecut dE/dEcut / V``, the Pulay stress (G. P. Francis and M. C. Payne, J. Phys.:
Condens. Matter 2, 4395 (1990)). At and above these cutoffs, ``2/3 Ecut dE/dEcut`` is at most 1/3 eV per atom, which is
5 GPa in a volume of 10 Å³. The derivative is that of the kinetic energy of the free atom (``gpaw.utilities.ekin``),
except for O: at 600 eV, the stress of MgO differs by 5 GPa from the derivative of its energy, and at 700 eV by 1 GPa.
"""


def hard_elements(symbols: Iterable[str], cutoff_eV: float) -> dict[str, int]:
    """Return the elements whose stress has a large error, with the necessary cutoffs in eV.

    Parameters
    ----------
    symbols
        The symbols of the elements.
    cutoff_eV
        The cutoff of the plane waves in eV.
    """
    needed = {symbol: STRESS_CUTOFF_EV[symbol] for symbol in sorted(set(symbols)) if symbol in STRESS_CUTOFF_EV}
    return {symbol: needed_eV for symbol, needed_eV in needed.items() if cutoff_eV < needed_eV}


def find_setups(folders: Iterable[str | Path], functional: str) -> dict[str, Path]:
    """Return the files of the default setups by symbol. As in GPAW, the first folder with a file takes precedence.

    Parameters
    ----------
    folders
        The folders of setups (``gpaw.setup_paths``).
    functional
        The functional. GPAW uses the PBE setups for all functionals of the GGA type.
    """
    name = 'LDA' if functional == 'LDA' else 'PBE'
    found: dict[str, Path] = {}
    for folder in folders:
        for symbol in VALENCE_ELECTRONS.keys() - found.keys():
            files = [path for suffix in ('', '.gz') if (path := Path(folder, f'{symbol}.{name}{suffix}')).is_file()]
            if files:
                found[symbol] = files[-1]
    return found


def setups_sha256(setups: Mapping[str, Path]) -> str:
    """Return the sha256 of the files of setups and their symbols."""
    digest = hashlib.sha256()
    for symbol, path in sorted(setups.items()):
        digest.update(f'{symbol} {file_sha256(path)}\n'.encode())
    return digest.hexdigest()

"""The Hubbard U values of the Materials Project, on whose data many universal potentials were trained.

The Materials Project computes compounds of eight transition metals with PBE+U if their most electronegative element is
oxygen or fluorine, and all other structures with PBE. A potential that was trained on these data, such as MPtrj,
therefore disagrees systematically with PBE for these compounds. Its energies also contain the corrections that the
Materials Project adds to mix both methods. These depend on the composition, so only forces, stresses and energy
differences at the same composition can be compared.

Sources
-------
The values: ``MPRelaxSet.yaml`` in pymatgen (``LDAUU``), fitted to formation energies of oxides by A. Jain et al.,
Comput. Mater. Sci. 50, 2295 (2011), https://doi.org/10.1016/j.commatsci.2011.02.023, with the method of L. Wang,
T. Maxisch and G. Ceder, Phys. Rev. B 73, 195107 (2006), https://doi.org/10.1103/PhysRevB.73.195107.
The training data: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), https://doi.org/10.1038/s42256-023-00716-3
(MPtrj, used by CHGNet, SevenNet-0, MACE-MP-0 and, together with sAlex, MACE-MPA-0).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

HUBBARD_U_EV = {
    'Co': 3.32,
    'Cr': 3.7,
    'Fe': 5.3,
    'Mn': 3.9,
    'Mo': 4.38,
    'Ni': 6.2,
    'V': 3.25,
    'W': 6.2,
}
"""Effective U in eV (Dudarev) of the d shell in oxides and fluorides."""
LIGANDS = frozenset({'O', 'F'})

# Kind of calculator and pattern of the model's name. Models of the functional r2SCAN are not listed: their data have no
# U. The MACE patterns are the names of the published files that were trained on MPtrj, alone or with sAlex.
_TRAINED: tuple[tuple[str, str], ...] = (
    ('sevennet', r'7net-(0|0_22may2024|l3i5|mf-0)'),
    ('chgnet', r'(chgnet-)?0\.[23]\.0'),
    ('mace', r'(mace-mpa-0.*|mace-mp-.*|mace[-_].*agnesi.*|.*mace-128-l[012]_.*|mace_mptrj.*)'),
)


def used_hubbard_U(kind: str, model: str | None, fidelity: str | None = None) -> bool:
    """Return whether a published potential was trained on PBE+U data of the Materials Project.

    Parameters
    ----------
    kind
        Kind of calculator, such as ``mace``.
    model
        Name of the shipped model or of the model file. A renamed file is not recognised.
    fidelity
        Fidelity of a multi-fidelity model, such as ``R2SCAN``.
    """
    name = (model or '').rpartition('/')[2].lower()
    if fidelity is not None and fidelity.lower() == 'r2scan':
        return False
    return any(kind == known and re.fullmatch(pattern, name) for known, pattern in _TRAINED)


def missing_hubbard_U(
    compositions: Iterable[Collection[str]], given: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return the U values of the Materials Project in eV that the settings lack, by element.

    Parameters
    ----------
    compositions
        The symbols of the elements of each structure.
    given
        The U values of the settings, such as ``{'Fe': {'d': 5.3}}``.
    """
    oxides = (set(symbols) for symbols in compositions)
    metals = sorted(set().union(*(symbols & HUBBARD_U_EV.keys() for symbols in oxides if symbols & LIGANDS)))
    return {metal: HUBBARD_U_EV[metal] for metal in metals if given.get(metal, {}).get('d') != HUBBARD_U_EV[metal]}


def describe_missing_U(model: str, missing: Mapping[str, float], place: str) -> str:
    """Return the sentences that tell the user which U values the training data of a potential were computed with.

    Parameters
    ----------
    model
        The name of the potential.
    missing
        The values in eV by element, from `missing_hubbard_U`.
    place
        The place of the setting, such as ``labelling.hubbard_U_eV``.
    """
    values = ', '.join(f'{metal}: {{d: {value:g}}}' for metal, value in missing.items())
    return (
        f'{model} was trained on data of the Materials Project, which uses PBE+U for oxides and fluorides of '
        f'{", ".join(missing)}; these labels will differ systematically from the training data. '
        f'For the same U values, set {place}: {{{values}}}'
    )

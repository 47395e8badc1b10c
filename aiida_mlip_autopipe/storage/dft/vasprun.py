"""Read the settings and the convergence of a calculation from ``vasprun.xml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from aiida_mlip_autopipe.storage.dft.incar import WORDS

# Tags that change a number. Users may change others, such as ALGO and NELM, to reach convergence.
COMPARED = (
    *('ENCUT', 'ENAUG', 'PREC', 'EDIFF', 'ISMEAR', 'SIGMA', 'ISPIN', 'LNONCOLLINEAR', 'LSORBIT', 'NUPDOWN', 'NELECT'),
    *('GGA', 'METAGGA', 'LASPH', 'ADDGRID', 'LREAL', 'LHFCALC', 'AEXX', 'HFSCREEN', 'IVDW', 'LUSE_VDW', 'LSOL'),
    *('LDAU', 'LDAUTYPE', 'LDAUL', 'LDAUU', 'LDAUJ', 'PSTRESS', 'EFIELD', 'LDIPOL', 'IDIPOL', 'NSW'),
)
# The output contains the values of these tags even if the INCAR does not, some under another name.
ALWAYS = {'ENCUT': 'ENMAX'} | {
    name: name for name in ('PREC', 'EDIFF', 'ISMEAR', 'SIGMA', 'ISPIN', 'GGA', 'METAGGA', 'LREAL', 'LHFCALC')
}
# VASP shortens these words, or reads only their first letters.
LETTERS = {'PREC': 1, 'LREAL': 1, 'GGA': 2, 'METAGGA': 5}
DEFAULTS = {'ISPIN': 1, 'NSW': 0}
UNSET = ('', '--', 'none')


def requested_settings(tags: Mapping[str, Any], mesh: Sequence[int]) -> dict[str, Any]:
    """Return the settings that an INCAR and a mesh of k-points request, with None for tags that are not given."""
    return {name: _value(name, tags.get(name)) for name in COMPARED} | {'k_points': list(mesh)}


def used_settings(document: Element) -> dict[str, Any]:
    """Return the settings of a calculation, as far as the output contains them."""
    incar, parameters = (_items(document.find(name)) for name in ('incar', 'parameters'))
    tags = {name: parameters[alias] for name, alias in ALWAYS.items() if alias in parameters} | incar
    for name in ('GGA', 'METAGGA'):
        # Without the tag, the output may contain the functional of the potentials.
        if name not in incar and _value(name, tags.get(name)) is not None:
            del tags[name]
    used = {name: _value(name, tags[name]) for name in COMPARED if name in tags}
    mesh = document.findtext("./kpoints/generation/v[@name='divisions']")
    return used | ({'k_points': [int(word) for word in mesh.split()]} if mesh else {})


def is_converged(document: Element) -> bool:
    """Return whether the last two energies of the last SCF cycle differ by less than EDIFF.

    Nothing else in this file distinguishes convergence in exactly NELM steps from a cycle that stopped at NELM.
    """
    tolerance = used_settings(document).get('EDIFF')
    steps = document.findall('calculation')[-1].findall('scstep')
    found = [step.findtext("./energy/i[@name='e_fr_energy']") for step in steps[-2:]]
    energies = [float(text) for text in found if text is not None]
    return tolerance is not None and len(energies) == 2 and abs(energies[1] - energies[0]) < tolerance


def _items(part: Element | None) -> dict[str, Any]:
    """Return the compared values of a part of the output: text, or a list of numbers."""
    names = {*COMPARED, *ALWAYS.values()}
    elements = [] if part is None else [one for one in part.iter() if one.get('name') in names]
    return {
        str(one.get('name')): [float(word) for word in (one.text or '').split()] if one.tag == 'v' else one.text or ''
        for one in elements
    }


def _value(name: str, value: Any) -> Any:
    """Return a value in a form that does not depend on how VASP prints it."""
    if value is None or isinstance(value, list):
        return DEFAULTS.get(name) if value is None else [float(one) for one in value]
    text = str(value).strip().lower()
    if text in UNSET:
        return DEFAULTS.get(name)
    if name in LETTERS:
        word = WORDS.get(text)
        return text[: LETTERS[name]] if word is None else word
    try:
        return float(text)
    except ValueError:
        return WORDS.get(text, text)

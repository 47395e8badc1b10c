"""Read the level of theory from the outputs of VASP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from ase import Atoms

from aiida_mlip_autopipe.storage.imports.levels import SPACING, k_spacing
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

# Functionals by the tag GGA; https://www.vasp.at/wiki/index.php/GGA.
_GGA = {'ca': 'lda', 'pe': 'pbe', 'ps': 'pbesol', 'rp': 'rpbe', 're': 'revpbe', '91': 'pw91', 'am': 'am05'}
# Functionals of the potentials, which are used if GGA is not set.
_POTENTIALS = {'PAW_PBE': 'pbe', 'PAW_GGA': 'pw91', 'PAW': 'lda'}
_PRECISIONS = ('low', 'medium', 'high', 'normal', 'single', 'accurate')
# Tags that affect the labels, with the names of the parameters.
_TAGS = {
    'EDIFF': 'energy_tolerance_eV',
    'SIGMA': 'smearing_width_eV',
    'LREAL': 'real_space_projection',
    'LASPH': 'aspherical_corrections',
    'ADDGRID': 'additional_grid',
    'IVDW': 'dispersion',
    'LUSE_VDW': 'vdw_functional',
    'LSORBIT': 'spin_orbit',
    'PSTRESS': 'pulay_stress_kbar',
}
_HYBRID = {'AEXX': 'exact_exchange', 'HFSCREEN': 'screening_per_A'}
_WANTED = (
    *_TAGS,
    *_HYBRID,
    *('ENMAX', 'ENCUT', 'ISMEAR', 'GGA', 'METAGGA', 'LHFCALC', 'PREC', 'ISPIN', 'LNONCOLLINEAR', 'LDAU', 'LDAUTYPE'),
    *('LDAUL', 'LDAUU', 'LDAUJ'),
)


def level_from_vasprun(document: Element, atoms: Atoms) -> LevelOfTheory:
    """Return the level of theory of the calculation in ``vasprun.xml``, whose first structure is ``atoms``."""
    tags: dict[str, str] = {}
    for part in ('incar', 'parameters'):
        for item in (element for found in document.findall(part) for element in found.iter()):
            if item.get('name') in _WANTED and (item.text or '').strip():
                tags[str(item.get('name'))] = (item.text or '').strip()
    types = [
        [cell.text or '' for cell in row] for row in document.findall("./atominfo/array[@name='atomtypes']/set/rc")
    ]
    mesh = document.find("./kpoints/generation/v[@name='divisions']")
    return _level(
        tags,
        version=(document.findtext("./generator/i[@name='version']") or '').strip(),
        titles=[row[-1].split() for row in types],
        spacing=k_spacing(atoms, None if mesh is None else (mesh.text or '').split()),
    )


def level_from_outcar(header: str, atoms: Atoms) -> LevelOfTheory:
    """Return the level of theory of the calculation from the part of ``OUTCAR`` before the first iteration.

    ``atoms`` is its first structure.
    """
    pattern = re.compile(rf'\b({"|".join(_WANTED)})\s*=\s*([^;\n]*)')
    tags: dict[str, str] = {}
    for name, value in pattern.findall(header):
        is_list = name in ('LDAUL', 'LDAUU', 'LDAUJ')
        words = value.split()
        if words:
            tags.setdefault(name, ' '.join(words) if is_list else words[0])
    version = re.search(r'vasp\.(\d+(?:\.\d+)*)', header)
    mesh = re.search(r'generate k-points for:((?:\s+\d+){3})', header)
    return _level(
        tags,
        version=version[1] if version else None,
        titles=[title.split() for title in re.findall(r'TITEL\s*=\s*(.+)', header)],
        spacing=k_spacing(atoms, mesh[1].split() if mesh else None),
    )


def _level(
    tags: Mapping[str, str], *, version: str | None, titles: Sequence[Sequence[str]], spacing: float | None
) -> LevelOfTheory:
    values = {name: _value(text) for name, text in tags.items()}
    functional = _functional(values, titles)
    cutoff = values.get('ENMAX', values.get('ENCUT'))
    elements = [title[1].partition('_')[0] if len(title) > 1 else '' for title in titles]
    precision = str(values.get('PREC', '')).lower()
    hubbard = _hubbard(values, elements)
    parameters = {
        'version': version,
        'functional': functional,
        'cutoff_eV': cutoff,
        SPACING: spacing,
        'potentials': {element: ' '.join(title) for element, title in zip(elements, titles, strict=True)},
        'spin': 'noncollinear' if values.get('LNONCOLLINEAR') else 'collinear' if values.get('ISPIN') == 2 else 'none',
        'precision': next((name for name in _PRECISIONS if precision and name.startswith(precision[:4])), None),
        'hubbard_U_eV': hubbard,
        **{name: values[tag] for tag, name in _TAGS.items() if values.get(tag)},
        'smearing': values.get('ISMEAR'),
        **({name: values.get(tag) for tag, name in _HYBRID.items()} if values.get('LHFCALC') else {}),
    }
    name = f'dft:vasp:{functional}{"+u" if any(hubbard.values()) else ""}' + (f'-{cutoff:g}eV' if cutoff else '')
    return LevelOfTheory(method='dft', code='vasp', name=name, parameters=parameters)


def _functional(values: Mapping[str, Any], titles: Sequence[Sequence[str]]) -> str:
    families = {_POTENTIALS.get(title[0]) for title in titles if title}
    gga = str(values.get('GGA', '--')).lower()
    base = (families.pop() if len(families) == 1 else None) if gga == '--' else _GGA.get(gga, gga)
    meta = values.get('METAGGA')
    if isinstance(meta, str) and meta not in ('--', 'none', 'NONE'):
        base = meta.lower()
    if values.get('LHFCALC'):
        return f'hybrid-{base or "unknown"}'
    return base or 'unknown'


def _hubbard(values: Mapping[str, Any], elements: Sequence[str]) -> dict[str, Any]:
    """Return U, J and l by element; zero without a Hubbard correction, so levels with and without it differ."""
    tags = ('LDAUU', 'LDAUJ', 'LDAUL')
    numbers = {name: [float(word) for word in str(values.get(name, '')).split()] for name in tags}
    if not values.get('LDAU') and not (values.get('LDAUTYPE') and numbers['LDAUU']):
        return dict.fromkeys(elements, 0.0)
    found = {}
    for index, element in enumerate(elements):
        u, j, channel = (_item(numbers[name], index) for name in tags)
        found[element] = {'U': u, 'J': j, 'l': channel} if channel is not None and channel >= 0 else 0.0
    return found


def _item(numbers: Sequence[float], index: int) -> float | None:
    return numbers[index] if index < len(numbers) else None


def _value(text: str) -> Any:
    if text in ('T', '.TRUE.', 'F', '.FALSE.'):
        return text in ('T', '.TRUE.')
    try:
        return float(text)
    except ValueError:
        return text

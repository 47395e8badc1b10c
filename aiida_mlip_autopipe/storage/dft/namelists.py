"""The entries of the namelists of ``pw.x``: which ones are accepted, and how they are read from an output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.imports.quantum_espresso import mesh_from_pw

STEPS = 'the labels are the forces and stress of the unchanged structure'
SPECIFIC = 'one value does not fit structures of different sizes and compositions'
PENALTY = 'it adds a penalty to the energy'
FIELD = 'it adds an electric field to the energy'
# Labels require these entries, so the user cannot change them.
CONTROL = {'calculation': 'scf', 'tprnfor': True, 'tstress': True}
REQUIRED = {f'control.{name}': (value, STEPS) for name, value in CONTROL.items()} | {
    'electrons.scf_must_converge': (True, 'the SCF cycle must converge')
}
REFUSED = {
    'control.pseudo_dir': 'use the setting pseudo_dir',
    'system.ecutwfc': 'use the setting ecutwfc_Ry',
    'system.starting_magnetization': 'use initial_magnetic_moments, with a value for each element',
    **dict.fromkeys(('control.tefield', 'control.lelfield', 'control.gate', 'control.lfcp'), FIELD),
    **dict.fromkeys(('system.constrained_magnetization', 'system.fixed_magnetization', 'system.lambda'), PENALTY),
    **dict.fromkeys(
        (f'system.{name}' for name in ('ibrav', 'celldm', 'a', 'b', 'c', 'cosab', 'cosac', 'cosbc', 'nat', 'ntyp')),
        'the structure determines it',
    ),
    **dict.fromkeys(
        (f'system.{name}' for name in ('nbnd', 'tot_charge', 'tot_magnetization', 'nr1', 'nr2', 'nr3')), SPECIFIC
    ),
    **dict.fromkeys(('system.nr1s', 'system.nr2s', 'system.nr3s', 'system.space_group'), SPECIFIC),
}
# Entries that pw.x read before version 7.1, with a value for each element.
BY_ELEMENT = ('hubbard_u', 'hubbard_j0', 'hubbard_alpha', 'hubbard_beta')
OLDER = {'lda_plus_u', 'lda_plus_u_kind', 'u_projection_type', *BY_ELEMENT}
WORDS = {'yes': True, 'on': True, 'no': False, 'off': False, '.true.': True, '.false.': False}
SMEARINGS = {
    **dict.fromkeys(('gaussian', 'gauss'), 'gaussian'),
    **dict.fromkeys(('methfessel-paxton', 'm-p', 'mp'), 'methfessel-paxton'),
    **dict.fromkeys(('marzari-vanderbilt', 'cold', 'm-v', 'mv'), 'marzari-vanderbilt'),
    **dict.fromkeys(('fermi-dirac', 'f-d', 'fd'), 'fermi-dirac'),
}


def check_namelists(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the namelists with names in lower case and booleans instead of words such as ``yes``.

    Raises
    ------
    AutopipeError
        For the first entry that is unknown, or would change the structure or the labels.
    """
    return {
        namelist: {name.lower().strip(): _checked(namelist, name.lower().strip(), entries[name]) for name in entries}
        for namelist, entries in given.items()
    }


def _checked(namelist: str, name: str, value: Any) -> Any:
    from ase.io.espresso_namelist.keys import pw_keys

    place = f'{namelist}.{name}'
    base = place.partition('(')[0]
    known = {*pw_keys[namelist], *(OLDER if namelist == 'system' else ())}
    found = WORDS.get(value.lower(), value) if isinstance(value, str) else value
    if base in REFUSED:
        raise AutopipeError(Code.VALUE_INVALID, f'{place} is not allowed: {REFUSED[base]}')
    if base.partition('.')[2] not in known:
        near = get_close_matches(name, known, n=1)
        hint = f'; did you mean {near[0]}?' * len(near)
        raise AutopipeError(Code.KEY_UNKNOWN, f'{place} is not an entry of pw.x' + hint)
    if '(' in place:
        hint = f'; give a value for each element, such as {base[7:]}: {{Fe: 5}}' if base[7:] in BY_ELEMENT else ''
        raise AutopipeError(
            Code.VALUE_INVALID, f'{place} is not allowed: the index of an element differs between rows{hint}'
        )
    if name in BY_ELEMENT and not isinstance(value, Mapping):
        raise AutopipeError(Code.TYPE_WRONG, f'{place} must have a value for each element, such as {{Fe: 5}}')
    if name not in BY_ELEMENT and isinstance(value, Mapping | list):
        raise AutopipeError(Code.TYPE_WRONG, f'{place} must be one value; got {value}')
    if place in REQUIRED and found != REQUIRED[place][0]:
        raise AutopipeError(Code.VALUE_INVALID, f'{place} must be {REQUIRED[place][0]}: {REQUIRED[place][1]}')
    return found


def resolve_elements(entries: Mapping[str, Any], species: Sequence[str]) -> dict[str, Any]:
    """Return the entries with each element replaced by the indices of its species.

    Parameters
    ----------
    entries
        Entries of the namelist ``system``.
    species
        Element of each species in the input. An element with several magnetic moments has several species.
    """
    resolved: dict[str, Any] = {}
    for name, value in entries.items():
        if isinstance(value, Mapping):
            indexed = {f'{name}({index})': value.get(symbol) for index, symbol in enumerate(species, start=1)}
            resolved |= {key: one for key, one in indexed.items() if one is not None}
        else:
            resolved[name] = value
    return resolved


def requested_settings(
    namelists: Mapping[str, Mapping[str, Any]], mesh: Sequence[int] | None, pseudopotentials: Mapping[str, str]
) -> dict[str, Any]:
    """Return the settings that an input requests, with the defaults of ``pw.x``. Γ is a mesh of one point."""
    system = namelists['system']
    smeared = system.get('occupations') == 'smearing'
    smearing = str(system.get('smearing', 'gaussian')).lower()
    return {
        'ecutwfc': system['ecutwfc'],
        'ecutrho': system.get('ecutrho', 4 * system['ecutwfc']),
        'conv_thr': namelists['electrons']['conv_thr'],
        'smearing': SMEARINGS.get(smearing, smearing) if smeared else None,
        'degauss': system.get('degauss', 0.0) if smeared else None,
        'spin': _spin(system),
        'k_points': list(mesh or (1, 1, 1)),
        'pseudopotentials': [pseudopotentials[symbol] for symbol in sorted(pseudopotentials)],
    }


def _spin(system: Mapping[str, Any]) -> str:
    if system.get('noncolin') or system.get('nspin') == 4:
        return 'noncollinear'
    return 'collinear' if system.get('nspin') == 2 else 'none'


def used_settings(text: str, atoms: Atoms, spin: str | None) -> dict[str, Any]:
    """Return the settings of a calculation, as far as the output of ``pw.x`` contains them.

    Parameters
    ----------
    text
        The output.
    atoms
        Its structure.
    spin
        The spin treatment in its level of theory.
    """
    used: dict[str, Any] = {}
    for name, pattern in (
        ('ecutwfc', r'kinetic-energy cutoff\s*=\s*(\S+)\s+Ry'),
        ('ecutrho', r'charge density cutoff\s*=\s*(\S+)\s+Ry'),
        ('conv_thr', r'scf convergence threshold\s*=\s*(\S+)'),
    ):
        if match := re.search(pattern, text):
            used[name] = float(match[1])
    if match := re.search(r'number of k points=\s*\d+(?: +(\S+) +smearing, *width \(Ry\)= *(\S+))?', text):
        used |= {'smearing': match[1].lower(), 'degauss': float(match[2])} if match[1] else {'smearing': None}
    if mesh := mesh_from_pw(text, atoms.cell.array):
        used['k_points'] = mesh
    files = re.findall(r'PseudoPot\. #\s*\d+ for\s+(\S+)\s+read from file:?\s*(\S+)', text)
    # An element with several magnetic moments has several species, which have a number after the element.
    names = {re.sub(r'\d+$', '', symbol): path.rpartition('/')[2] for symbol, path in files}
    if names:
        used['pseudopotentials'] = [names[symbol] for symbol in sorted(names)]
    return used | ({'spin': spin} if spin else {})

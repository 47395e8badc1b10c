"""The input of Quantum ESPRESSO's ``pw.x`` for a structure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments
from ase.units import Rydberg

from aiida_mlip_autopipe.calculators.k_points import k_mesh
from aiida_mlip_autopipe.calculators.slabs import axis_of_dipole, move_to_middle
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.labelling.base import Variation
from aiida_mlip_autopipe.labelling.labellers.espresso import PwSettings
from aiida_mlip_autopipe.structures.vacuum import extended_directions, is_few_atoms

MAX_SPECIES = 9
"""Maximum number of species of an element with different initial moments: names of species have three characters."""
# Fraction of a cell vector over which the potential of the dipole correction decreases. It lies in the vacuum.
DIPOLE_WIDTH = 0.1
EMPTY_BANDS_OF_ATOM = 4


@dataclass(frozen=True)
class PwInputs:
    """What ``pw.x`` computes.

    Attributes
    ----------
    atoms
        The structure, periodic in all directions. Its tags distinguish species with different initial moments; the name
        of a species is the symbol followed by its tag, or only the symbol if the tag is 0.
    parameters
        The namelists. ``starting_magnetization`` and ``hubbard_u`` are mappings from species to values.
    mesh
        The mesh of k-points.
    hubbard
        The shell with a Hubbard U, such as ``3d``, and U in eV, of each species that has one. They are not part of the
        namelists, since versions of ``pw.x`` read them in different ways; see `uses_hubbard_card`.
    """

    atoms: Atoms
    parameters: dict[str, dict[str, Any]]
    mesh: list[int]
    hubbard: dict[str, tuple[str, float]]


def pw_inputs(atoms: Atoms, settings: PwSettings, valences: Mapping[str, float], variation: Variation = '') -> PwInputs:
    """Return the input of ``pw.x`` for a structure.

    Non-periodic directions get a vacuum. With a dipole correction, a slab lies in the middle of the cell. One to three
    atoms in vacuum are spin-polarised, since their open shells determine the energies of dissociation.

    Parameters
    ----------
    atoms
        The structure.
    settings
        The settings.
    valences
        Number of valence electrons of the pseudopotential of each element.
    variation
        What a repeated calculation changes: ``mixing`` halves `PwSettings.mixing_beta`, ``k_points`` divides the
        spacing of the k-points by 1.5.

    Raises
    ------
    AutopipeError
        If atoms of one element have too many different initial moments.
    """
    computed = Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if not atoms.pbc.all():
        computed.center(vacuum=settings.vacuum_A, axis=np.flatnonzero(~atoms.pbc))
    extended = extended_directions(computed)
    few_atoms = is_few_atoms(computed)
    spin_polarized = few_atoms or bool(settings.spin_polarized)
    axis = axis_of_dipole(computed.cell.array, extended) if settings.dipole_correction else None
    parameters = _namelists(settings, len(atoms))
    parameters['CONTROL'] |= {'tstress': bool(atoms.pbc.all()) and axis is None}
    if axis is not None:
        move_to_middle(computed, axis)
        parameters['CONTROL'] |= {'tefield': True, 'dipfield': True}
        parameters['SYSTEM'] |= {
            'edir': axis + 1,
            'emaxpos': 1 - DIPOLE_WIDTH / 2,
            'eopreg': DIPOLE_WIDTH,
            'eamp': 0.0,
        }
    if variation == 'mixing':
        parameters['ELECTRONS']['mixing_beta'] = settings.mixing_beta / 2
    computed.pbc = True
    moments = _initial_moments(atoms, settings, few_atoms) if spin_polarized else np.zeros(len(atoms))
    species = _distinguish(computed, moments)
    if spin_polarized:
        parameters['SYSTEM'] |= {'nspin': 2, 'starting_magnetization': _fractions(species, valences)}
    spacing = settings.kspacing_per_A / 1.5 if variation == 'k_points' else settings.kspacing_per_A
    symbols = {name: symbol for name, (symbol, _) in species.items()}
    return PwInputs(computed, parameters, k_mesh(computed.cell, extended, spacing), _hubbard(symbols, settings))


def pw_inputs_of_atom(symbol: str, settings: PwSettings, valences: Mapping[str, float]) -> PwInputs:
    """Return the input for a neutral isolated atom, with integer occupations and the spin given by Hund's rules.

    The box has three different lengths and the calculation has no symmetry, so that an open shell can break it.
    """
    atom = Atoms(symbol, cell=2 * settings.vacuum_A + np.array([0.0, 0.5, 1.0]), pbc=True)
    atom.center()
    moment = float(ground_state_magnetic_moments[atomic_numbers[symbol]])
    parameters = _namelists(settings, 1)
    system = parameters['SYSTEM']
    for name in ('smearing', 'degauss', 'tot_charge'):
        system.pop(name, None)
    n_up = (valences[symbol] + moment) / 2
    system |= {'occupations': 'fixed', 'nosym': True, 'nbnd': int(np.ceil(n_up)) + EMPTY_BANDS_OF_ATOM}
    if moment:
        system |= {'nspin': 2, 'tot_magnetization': moment}
        system |= {'starting_magnetization': _fractions({symbol: (symbol, moment)}, valences)}
    # With fixed occupations, nearly degenerate orbitals may swap between steps, so the residual stagnates.
    parameters['ELECTRONS']['conv_thr'] = 1e-6
    return PwInputs(atom, parameters, [1, 1, 1], _hubbard({symbol: symbol}, settings))


def uses_hubbard_card(version: str) -> bool:
    """Return whether a version of ``pw.x``, such as ``6.7MaX``, reads U and the shell from a card (7.1 and later)."""
    major, minor = re.findall(r'\d+', version)[:2]
    return (int(major), int(minor)) >= (7, 1)


def refuse_hubbard(settings: PwSettings, version: str) -> None:
    """Refuse a Hubbard U on a shell to which a version of ``pw.x`` cannot apply it.

    Versions before 7.1 choose the shell themselves.

    Raises
    ------
    AutopipeError
        If the version chooses a different shell.
    """
    for symbol, shells in settings.hubbard_U_eV.items():
        for shell in shells:
            if not uses_hubbard_card(version) and shell != _shell_of_old_versions(symbol):
                raise AutopipeError(
                    Code.SETTINGS_REFUSED,
                    f'labelling.hubbard_U_eV.{symbol}: Quantum ESPRESSO {version} does not apply U to the {shell} '
                    f'shell of {symbol}; versions 7.1 and later do',
                )


def add_hubbard(inputs: PwInputs) -> None:
    """Add the Hubbard U to the namelists, for a version of ``pw.x`` before 7.1."""
    if inputs.hubbard:
        values = {name: value for name, (_, value) in inputs.hubbard.items()}
        inputs.parameters['SYSTEM'] |= {'lda_plus_u': True, 'hubbard_u': values}


def _hubbard(symbols: Mapping[str, str], settings: PwSettings) -> dict[str, tuple[str, float]]:
    """Return shell and U of each species, from the symbol of each species."""
    found = {}
    for name, symbol in symbols.items():
        for shell, value in settings.hubbard_U_eV.get(symbol, {}).items():
            number = _period(symbol) - {'p': 0, 'd': 1, 'f': 2}[shell]
            found[name] = (f'{number}{shell}', value)
    return found


def _period(symbol: str) -> int:
    """Return the period of an element."""
    number: int = atomic_numbers[symbol]
    return 1 + sum(number > last for last in (2, 10, 18, 36, 54, 86))


def _shell_of_old_versions(symbol: str) -> str:
    number = atomic_numbers[symbol]
    if 58 <= number <= 71 or 90 <= number <= 103:
        return 'f'
    if 22 <= number <= 30 or 40 <= number <= 48 or 72 <= number <= 80:
        return 'd'
    return 'p' if symbol in ('C', 'N', 'O') else ''


def _namelists(settings: PwSettings, n_atoms: int) -> dict[str, dict[str, Any]]:
    """Return the namelists without what depends on the structure, energies in Ry."""
    system: dict[str, Any] = {
        'ecutwfc': settings.plane_wave_cutoff_eV / Rydberg,
        'ecutrho': (settings.density_cutoff_eV or 8 * settings.plane_wave_cutoff_eV) / Rydberg,
        'occupations': 'smearing',
        'smearing': settings.smearing,
        'degauss': settings.smearing_eV / Rydberg,
    }
    if settings.charge:
        system['tot_charge'] = settings.charge
    if settings.dispersion:
        system |= {'vdw_corr': 'dft-d3', 'dftd3_version': 4, 'dftd3_threebody': False}
    electrons = {
        'conv_thr': settings.scf_energy_eV * n_atoms / Rydberg,
        'electron_maxstep': settings.max_scf_steps,
        'mixing_beta': settings.mixing_beta,
    }
    return {'CONTROL': {'calculation': 'scf', 'tprnfor': True}, 'SYSTEM': system, 'ELECTRONS': electrons}


def _initial_moments(atoms: Atoms, settings: PwSettings, few_atoms: bool) -> np.ndarray:
    """Return the initial moments in μB (n,): those of the structure, or else those of the settings."""
    own: np.ndarray = atoms.get_initial_magnetic_moments()
    if own.any():
        return own
    free = dict(zip(atoms.symbols, ground_state_magnetic_moments[atoms.numbers], strict=True)) if few_atoms else {}
    starts = free | settings.initial_magnetic_moments
    return np.array([starts.get(symbol, 0.0) for symbol in atoms.symbols], dtype=float)


def _distinguish(atoms: Atoms, moments: np.ndarray) -> dict[str, tuple[str, float]]:
    """Set the tags of atoms by their initial moment, rounded to 0.1 μB; return symbol and moment of each species."""
    rounded = np.round(moments, 1) + 0.0
    tags, species = np.zeros(len(atoms), dtype=int), {}
    for symbol in dict.fromkeys(atoms.symbols):
        found = sorted(set(rounded[atoms.symbols == symbol].tolist()))
        if len(found) > MAX_SPECIES:
            raise AutopipeError(
                Code.SETTINGS_REFUSED,
                f'the atoms of {symbol} have {len(found)} different initial magnetic moments; '
                f'pw.x distinguishes at most {MAX_SPECIES}',
            )
        for number, moment in enumerate(found, start=1):
            tag = number if len(found) > 1 else 0
            tags[(atoms.symbols == symbol) & (rounded == moment)] = tag
            species[f'{symbol}{tag or ""}'] = (symbol, moment)
    atoms.set_tags(tags)
    return species


def _fractions(species: Mapping[str, tuple[str, float]], valences: Mapping[str, float]) -> dict[str, float]:
    """Return the initial moment of each species as a fraction of its valence electrons."""
    return {name: float(np.clip(moment / valences[symbol], -1, 1)) for name, (symbol, moment) in species.items()}

"""Refuse labels that probably have the wrong unit or sign."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from ase.units import GPa

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.imports.frames import Frame, formula_of
from aiida_mlip_autopipe.storage.imports.keys import LabelKeys

HIGH_STRESS = 0.5
"""eV/Å³ (80 GPa). If the median of the largest component is higher, the unit is probably wrong."""
N_FOR_SIGN = 8
"""Minimum number of frames of one composition for a check of the sign of the stress."""
CORRELATION = 0.7
"""If the correlation of pressure and volume is higher, the sign is probably wrong. It should be negative."""
MIN_SPREAD = 0.005
"""Minimum relative spread of the volumes for a check of the sign of the stress."""
LOW_ENERGY = 1.0
"""eV. Smaller energies, such as those of EMT, may agree by coincidence."""
SIZE_RATIO = 1.5
"""Minimum ratio of the numbers of atoms in two structures whose energies are compared."""


def check_plausible(frames: Sequence[Frame], file: Path, keys: LabelKeys) -> None:
    """Refuse labels of a file that probably have the wrong unit or sign, unless the user has set the unit or sign.

    - Stresses whose median is above 80 GPa are probably in GPa or kbar.
    - In frames of the same composition, the pressure decreases as the volume increases. If it increases (correlation
      above 0.7), the sign is probably wrong.
    - If energies of the same composition do not depend on the number of atoms, they are probably energies per atom.

    Raises
    ------
    AutopipeError
        With the code ``LABELS_UNIT`` and the option to set.
    """
    stressed = [frame for frame in frames if 'stress' in frame.labels]
    if stressed:
        stresses = np.array([frame.labels['stress'] for frame in stressed])
        median = float(np.median(np.abs(stresses).max(axis=1)))
        key = stressed[0].keys.get('stress', stressed[0].keys.get('virial'))
        if keys.stress_unit is None and median > HIGH_STRESS:
            raise AutopipeError(
                Code.LABELS_UNIT,
                f'{file}: {key}: the median of the largest components of the stress would be {median / GPa:.3g} GPa; '
                'set --stress-unit to eV/A3, GPa or kbar',
            )
        volumes = np.array([frame.atoms.cell.volume for frame in stressed])
        groups = [np.sort(frame.atoms.numbers).tobytes() for frame in stressed]
        correlation = _correlation(np.log(volumes), -stresses[:, :3].mean(axis=1), groups)
        if keys.stress_sign is None and correlation > CORRELATION:
            raise AutopipeError(
                Code.LABELS_UNIT,
                f'{file}: {key}: the pressure would increase with the volume (correlation {correlation:.2f}); set '
                '--stress-sign to tension if a stress is positive under tension, as in ASE, or to compression',
            )
    if keys.energy_unit is None and (sizes := _sizes_with_equal_energies(frames)):
        raise AutopipeError(
            Code.LABELS_UNIT,
            f'{file}: {frames[0].keys.get("energy")}: structures of {sizes[0]} and {sizes[1]} atoms have about the '
            'same energy; set --energy-unit to eV or eV/atom',
        )


def _correlation(first: np.ndarray, second: np.ndarray, groups: Sequence[Hashable]) -> float:
    """Return the correlation of the deviations from the means of the groups; 0 if no group is large enough."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    used = [group for group in members.values() if len(group) >= N_FOR_SIGN]
    if not used:
        return 0.0
    x, y = (np.concatenate([values[group] - values[group].mean() for group in used]) for values in (first, second))
    if x.std() < MIN_SPREAD or y.std() == 0:
        return 0.0
    return float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))


def _sizes_with_equal_energies(frames: Sequence[Frame]) -> tuple[int, int] | None:
    """Return two numbers of atoms with the same composition and about the same mean energy, if there are any."""
    energies: dict[str, dict[int, list[float]]] = {}
    for frame in frames:
        energies.setdefault(formula_of(frame.atoms), {}).setdefault(len(frame.atoms), []).append(frame.labels['energy'])
    for by_size in energies.values():
        small, large = min(by_size), max(by_size)
        first, second = (float(np.mean(by_size[size])) for size in (small, large))
        if large >= SIZE_RATIO * small and abs(first) > LOW_ENERGY and 0.9 < second / first < 1.1:
            return small, large
    return None

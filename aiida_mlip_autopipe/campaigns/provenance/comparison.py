"""Compare a recomputed frame or label, bit for bit, with that in the row and that in the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aiida_mlip_autopipe.jobs.contract import Result
from aiida_mlip_autopipe.jobs.environment import Difference, Environment, compare_environments
from aiida_mlip_autopipe.labelling import Label
from aiida_mlip_autopipe.structures.rows.labels import other_labels, present_labels
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.trajectory import Trajectory

UNITS = {
    'numbers': '',
    'pbc': '',
    'positions': 'Å',
    'cell': 'Å',
    'energy': 'eV',
    'forces': 'eV/Å',
    'stress': 'eV/Å³',
    'temperature': 'K',
}
"""The quantities of a frame with their units. Momenta are not stored, but the temperature depends on all of them."""

Frame = Mapping[str, np.ndarray]
"""Quantities by name."""
VERSIONS = ('package', 'python')
"""The versions in a result that the environment record lacks."""
Outcome = Literal['identical', 'differs', 'not_run']
Side = Literal['row', 'graph']


@dataclass(frozen=True)
class Deviation:
    """A quantity that differs.

    Attributes
    ----------
    quantity
        Its name.
    compared_with
        ``row`` or ``graph``.
    largest
        The largest absolute difference of a component; None if the shapes differ.
    unit
        Its unit.
    is_missing
        Whether it has no value to compare.
    """

    quantity: str
    compared_with: Side
    largest: float | None
    unit: str
    is_missing: bool = False

    def __str__(self) -> str:
        if self.is_missing:
            return f'{self.quantity} missing'
        size = 'with a different shape' if self.largest is None else f'by {self.largest:.2g} {self.unit}'
        return f'{self.quantity} {size}'.rstrip()


@dataclass(frozen=True)
class Comparison:
    """What was computed again, compared with the row and with the graph.

    Attributes
    ----------
    outcome
        ``identical`` if all quantities are identical bit for bit, otherwise ``differs``; ``not_run`` if they could not
        be computed.
    deviations
        The quantities that differ.
    differences
        The recorded versions, hashes and settings that differ, such as ``numpy 2.2.0 -> 2.3.1``.
    not_recorded
        What the original job did not record, such as ``processor``.
    message
        Why it could not be computed, or how the run differed from the recorded one.
    environment
        The code or the interpreter that computed it.
    """

    outcome: Outcome
    deviations: tuple[Deviation, ...] = ()
    differences: tuple[str, ...] = ()
    not_recorded: tuple[str, ...] = ()
    message: str = ''
    environment: str = ''

    def describe(self, *, is_altered: bool = False) -> str:
        """Return the outcome as one sentence.

        Parameters
        ----------
        is_altered
            Whether the row or the graph was altered, which may be the reason for a difference.
        """
        if self.outcome == 'not_run':
            return f'cannot be run: {self.message}'
        if self.outcome == 'identical':
            return 'identical' + (f', despite changes: {", ".join(self.differences)}' if self.differences else '')
        how = '; '.join(filter(None, [self.message, self._describe_deviations()]))
        if self.differences:
            return f'differs: {how}; changed since: {", ".join(self.differences)}'
        if is_altered:
            return f'differs: {how}'
        names = ', '.join(self.not_recorded)
        unknown = f' (not recorded by the original job: {names})' if names else ''
        return f'differs for no known reason: {how}{unknown}'

    def _describe_deviations(self) -> str:
        of_row, of_graph = (
            ', '.join(str(one) for one in self.deviations if one.compared_with == side) for side in ('row', 'graph')
        )
        if of_row == of_graph:
            return of_row
        sides = ((of_row, 'row'), (of_graph, 'graph'))
        return '; '.join(f'{text} from the {side}' for text, side in sides if text)


def compare_frames(expected: Frame, found: Frame, side: Side) -> list[Deviation]:
    """Return the quantities that are not identical bit for bit, or that the second frame lacks.

    Quantities that only the second frame has are ignored, because a dataset omits stresses that are not accurate.

    Parameters
    ----------
    expected
        A frame of a row or of the graph.
    found
        The frame that is compared with it.
    side
        Where the first frame is from.
    """
    deviations = []
    for name, unit in UNITS.items():
        if name in expected and name not in found:
            deviations.append(Deviation(name, side, None, unit, is_missing=True))
        elif name in expected:
            one, other = (np.asarray(frame[name], dtype=np.float64) for frame in (expected, found))
            if one.shape != other.shape:
                deviations.append(Deviation(name, side, None, unit))
            elif one.tobytes() != other.tobytes():
                deviations.append(Deviation(name, side, float(np.abs(one - other).max()), unit))
    return deviations


def leg_frame(trajectory: Trajectory, index: int) -> Frame:
    """Return a frame of a leg. The stress is omitted if the calculator did not compute it."""
    stress = trajectory.stresses[index]
    return {
        'numbers': trajectory.numbers,
        'pbc': trajectory.pbc,
        'positions': trajectory.positions[index],
        'cell': trajectory.cells[index],
        'energy': trajectory.energies[index],
        'forces': trajectory.forces[index],
        'temperature': trajectory.temperatures[index],
        **({'stress': stress} if np.isfinite(stress).all() else {}),
    }


def row_frame(row: Row, level_hash: str) -> Frame:
    """Return a row as the frame of an exploration.

    Parameters
    ----------
    row
        The row.
    level_hash
        The level of theory of the exploration. Labels at other levels are omitted.
    """
    atoms, temperature = row.atoms, row.provenance.temperature_K
    return {
        'numbers': atoms.numbers,
        'pbc': atoms.pbc,
        'positions': atoms.positions,
        'cell': atoms.cell.array,
        **({} if temperature is None else {'temperature': np.array(temperature)}),
        **row_labels(row, level_hash),
    }


def row_labels(row: Row, level_hash: str) -> Frame:
    """Return the labels of a row at a level of theory; empty if the row has none."""
    present = present_labels(row)
    known = [*([] if present is None else [present]), *other_labels(row).values()]
    found: Mapping[str, Any] = next((one.results for one in known if one.level.hash == level_hash), {})
    return {name: np.asarray(value) for name, value in found.items()}


def label_frame(label: Label) -> Frame:
    """Return the energy, the forces and, if it is known, the stress of a label."""
    stress = {} if label.stress_eV_A3 is None else {'stress': label.stress_eV_A3}
    return {'energy': np.array(label.energy_eV), 'forces': label.forces_eV_A, **stress}


def find_differences(
    expected: Environment, recorded: Mapping[str, Any], image_sha256: str | None, found: Result
) -> list[str]:
    """Return the recorded versions, hashes and settings that differ in the job that was run again.

    Parameters
    ----------
    expected
        The environment record of the original job.
    recorded
        The result of the original job. Jobs of earlier versions recorded no processor.
    image_sha256
        The sha256 of the image of the original job; None without an image.
    found
        The result of the job that was run again.
    """
    differences = [] if found.environment is None else compare_environments(expected, found.environment)
    for version in VERSIONS:
        before = (recorded.get('versions') or {}).get(version)
        after = None if found.versions is None else getattr(found.versions, version)
        differences.append(Difference(version, before, after))
    differences.append(Difference('model', recorded.get('model_sha256'), found.model_sha256))
    differences.append(Difference('image', image_sha256, found.image_sha256))
    differences.append(Difference('processor', recorded.get('processor'), found.processor))
    missing = find_missing(recorded)
    return [f'{one.name} {one.shown}' for one in differences if one.expected != one.found and one.name not in missing]


def find_missing(recorded: Mapping[str, Any]) -> list[str]:
    """Return the compared items that the result of an original job does not record."""
    values = {**(recorded.get('versions') or {}), 'processor': recorded.get('processor')}
    return [name for name in (*VERSIONS, 'processor') if values.get(name) is None]


def judge(
    found: Frame,
    of_graph: Frame,
    of_row: Frame,
    differences: Collection[str] = (),
    not_recorded: Collection[str] = (),
    message: str = '',
    environment: str = '',
) -> Comparison:
    """Compare a frame or a label that was computed again with the graph and with the row."""
    # Without a frame, the message says why there is none.
    sides: tuple[tuple[Frame, Side], ...] = ((of_row, 'row'), (of_graph, 'graph')) if found else ()
    deviations = [one for frame, side in sides for one in compare_frames(frame, found, side)]
    outcome: Outcome = 'differs' if deviations or message else 'identical'
    return Comparison(outcome, tuple(deviations), tuple(differences), tuple(not_recorded), message, environment)

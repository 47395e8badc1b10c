"""Deviations of predictions from labels, which are errors, and deviations of several models from one another.

The energies of two models, or of a model and a reference method, may differ by a constant for each element. Such
offsets do not affect forces and stresses, so they are removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import GPa

from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.rounds.held_out import MIN_GROUPS, Estimate, HeldOutErrors
from aiida_mlip_autopipe.training.offsets import Offsets, fit_offsets

FORCE, STRESS, ENERGY = 'force_eV_A', 'stress_GPa', 'energy_eV_atom'
QUANTITIES = (FORCE, STRESS, ENERGY)


@dataclass(frozen=True, eq=False)
class Deviations:
    """The deviation of each of f frames. It is NaN where a value is missing.

    Attributes
    ----------
    force_eV_A
        Root mean square over the force components of a frame (f,), in eV/Å.
    stress_GPa
        Root mean square over the six stress components (f,), in GPa.
    energy_eV_atom
        Absolute deviation of the energy per atom (f,), in eV.
    n_components
        Number of force components of each frame (f,).
    """

    force_eV_A: np.ndarray
    stress_GPa: np.ndarray
    energy_eV_atom: np.ndarray
    n_components: np.ndarray

    def __len__(self) -> int:
        return len(self.n_components)


def measure_errors(
    labels: Predictions, predicted: Predictions, offsets_eV: Mapping[str, float] | None = None
) -> Deviations:
    """Return the errors of a model.

    Parameters
    ----------
    labels
        The labels of the frames.
    predicted
        The predictions of the model for the same frames.
    offsets_eV
        Energy per atom that is added to each element of the model, as in `Training.offsets_eV`. A trained model
        contains its offsets; the model from which the training started does not.

    Raises
    ------
    AutopipeError
        If the frames differ.
    """
    _require_same_frames(labels, predicted)
    offsets = Offsets(dict(offsets_eV or {}), 0.0, True)
    added = np.array([offsets.of(atoms) for atoms in labels.frames()])
    return Deviations(
        np.sqrt(labels.per_frame(((predicted.forces - labels.forces) ** 2).mean(axis=1))),
        np.sqrt(((predicted.stresses - labels.stresses) ** 2).mean(axis=1)) / GPa,
        np.abs(predicted.energies + added - labels.energies) / labels.n_atoms,
        3 * labels.n_atoms,
    )


def measure_uncertainties(members: Sequence[Predictions]) -> Deviations:
    r"""Return the disagreement of several models, which indicates where their errors are large.

    It is the root mean square, over models and components, of the deviation from the mean of the models. Before the
    energies are compared, one offset per element and model, fitted by least squares to the energies per atom of all
    frames, is removed. The result does not depend on the order of the models.

    Parameters
    ----------
    members
        The predictions of each model for the same frames. A frame that one of them could not evaluate has NaN.

    Raises
    ------
    AutopipeError
        If there are fewer than two models, or the frames differ.
    """
    if len(members) < 2:
        raise AutopipeError(Code.VALUES_INCOMPLETE, f'uncertainties need at least two models; got {len(members)}')
    first = members[0]
    for member in members[1:]:
        _require_same_frames(first, member)
    forces, stresses = (np.array([getattr(one, name) for one in members]) for name in ('forces', 'stresses'))
    known = np.all([one.finite for one in members], axis=0)
    energies = np.array([_without_offsets(one, first, known) for one in members])
    return Deviations(
        np.sqrt(first.per_frame(forces.var(axis=0).mean(axis=1))),
        np.sqrt(stresses.var(axis=0).mean(axis=1)) / GPa,
        energies.std(axis=0),
        3 * first.n_atoms,
    )


def _without_offsets(member: Predictions, first: Predictions, known: np.ndarray) -> np.ndarray:
    """Return the energies per atom minus those of the first model (f,), after removing an offset per element."""
    differences = np.where(known, member.energies - first.energies, np.nan)
    if known.any():
        frames = first.frames()
        chosen = [frames[index] for index in np.flatnonzero(known)]
        offsets = fit_offsets(chosen, differences[known].tolist())
        differences = differences - [offsets.of(atoms) for atoms in frames]
    per_atom: np.ndarray = differences / first.n_atoms
    return per_atom


def estimate_errors(errors: Deviations, groups: Sequence[str], random_seed: int) -> dict[str, Estimate]:
    """Return the root mean square of the errors of each quantity, with an upper limit from a bootstrap over groups.

    Parameters
    ----------
    errors
        The errors of a model on test frames.
    groups
        Group of each frame.
    random_seed
        The random seed of the campaign.

    Returns
    -------
    dict
        An estimate for each name in `QUANTITIES`, in the unit of its name. The stress is missing unless the frames of
        at least three groups have one. If the model could not evaluate a frame, the estimates are NaN.

    Raises
    ------
    ValueError
        If there are fewer than three groups.
    """
    # The stress is also missing for a frame that the model could not evaluate, which must count.
    stressed = np.isfinite(errors.stress_GPa) | ~np.isfinite(errors.force_eV_A)
    ones = np.ones(len(errors))
    found = {FORCE: HeldOutErrors(groups, errors.n_components, random_seed).rmse(errors.force_eV_A**2)}
    of_stressed = [group for group, known in zip(groups, stressed, strict=True) if known]
    if len(set(of_stressed)) >= MIN_GROUPS:
        test = HeldOutErrors(of_stressed, 6 * ones[stressed], random_seed)
        found[STRESS] = test.rmse(errors.stress_GPa[stressed] ** 2)
    found[ENERGY] = HeldOutErrors(groups, ones, random_seed).rmse(errors.energy_eV_atom**2)
    return found


def _require_same_frames(first: Predictions, second: Predictions) -> None:
    same = np.array_equal(first.n_atoms, second.n_atoms) and np.array_equal(first.numbers, second.numbers)
    if not same:
        raise AutopipeError(
            Code.VALUE_INVALID, f'the predictions are for different frames ({len(first)} and {len(second)})'
        )

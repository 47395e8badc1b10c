"""The cost of a label in core seconds, predicted before anything is computed and corrected using labels already made.

The cost model of GPAW counts what a plane-wave code does in an SCF cycle: a fixed cost for each structure, the exchange
and correlation in the PAW spheres of the atoms, the density on the grid, Fourier transforms of each band at each
k-point, and products of pairs of bands.

The coefficients were fitted to the processor time of 15 calculations by GPAW 26.7 with one thread of an Intel Xeon that
was also used by other processes: rattled Si, Al, Cu, MgO, NaCl, ice, spin-polarised Fe and a water molecule, with 2 to
32 atoms, 250 to 600 eV and 1 to 365 k-points, which took 2 to 57 s. The predictions are within a factor of 1.24 (root
mean square) and 1.8 (largest, for iron); if the predicted calculation is left out of the fit, within 1.43 and 2.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr, Hartree

from aiida_mlip_autopipe.calculators import CalculatorSettings
from aiida_mlip_autopipe.calculators.gpaw_setups import VALENCE_ELECTRONS
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings, prepare
from aiida_mlip_autopipe.labelling.screening import LeftOut, Screening
from aiida_mlip_autopipe.structures.plausibility import NORMAL

COEFFICIENTS_S = np.array([1.2, 0.104, 0.167, 0.01175, 1.36e-4])
"""Core seconds of the terms of `terms_of_gpaw`."""
LARGEST_ERROR = 2.2
"""Largest factor between a measurement and its prediction if the measurement was not part of the fit."""
OF_ANOTHER_COMPUTER = 4.0
"""The same factor on another computer, whose cores may be about twice as fast or slow."""
MIN_LABELS = 5
"""Minimum number of labels whose spread is a better estimate of the error."""
RULE_BUDGET = 'budget_core_hours'


def terms_of_gpaw(atoms: Atoms, settings: GPAWSettings) -> np.ndarray:
    """Return the numbers by which the coefficients of the cost model are multiplied, shape (5,).

    Of two k-points that time reversal relates, GPAW computes one. Other symmetries are not counted, because frames of
    an exploration have none; a perfect crystal costs less.

    Parameters
    ----------
    atoms
        The structure.
    settings
        The settings of GPAW.

    Returns
    -------
    numpy.ndarray
        1; atoms; plane waves; bands times plane waves; and squared bands times plane waves. All but the first are
        multiplied by the number of spins, and the last two by the number of k-points. Plane waves are in thousands.
    """
    computed, parameters = prepare(atoms, settings)
    mesh = parameters['kpts']['size']
    n_k_points = (prod(mesh) + prod(2 - size % 2 for size in mesh)) // 2
    n_spins = 2 if parameters['spinpol'] else 1
    radius_per_bohr = np.sqrt(2 * settings.plane_wave_cutoff_eV / Hartree)
    waves = computed.get_volume() / Bohr**3 * radius_per_bohr**3 / (6 * np.pi**2) / 1000
    bands = 0.6 * sum(VALENCE_ELECTRONS[symbol] for symbol in atoms.symbols) + 4  # GPAW's default
    per_band = n_k_points * bands * waves
    return np.array([1.0, n_spins * len(atoms), n_spins * waves, n_spins * per_band, n_spins * per_band * bands])


def modelled(calculator: Mapping[str, Any]) -> GPAWSettings | None:
    """Return the settings of a calculator whose cost is known before its first label; None for others."""
    return GPAWSettings.model_validate(calculator) if calculator['kind'] == 'gpaw' else None


def relative_cost(atoms: Atoms, calculator: CalculatorSettings | None) -> float:
    """Return the cost of a label without any correction: in core seconds or, without a cost model, the number of atoms.

    Parameters
    ----------
    atoms
        The structure.
    calculator
        The settings of the calculator; None for a calculator without a cost model.
    """
    if not isinstance(calculator, GPAWSettings):
        return float(len(atoms))
    return float(COEFFICIENTS_S @ terms_of_gpaw(atoms, calculator))


@dataclass(frozen=True)
class Calibration:
    """How the cost on a computer compares with the prediction.

    Attributes
    ----------
    factor
        Median of the ratios of measured and predicted cost. Predictions are multiplied by it.
    spread
        Factor within which about two thirds of the ratios lie; 1 with fewer than two labels.
    n_labels
        Number of labels.
    """

    factor: float = 1.0
    spread: float = 1.0
    n_labels: int = 0

    @property
    def uncertainty(self) -> float:
        """Factor within which the cost of a label probably lies; with fewer than 5 labels, at least `LARGEST_ERROR`."""
        if self.n_labels == 0:
            return OF_ANOTHER_COMPUTER
        return max(self.spread, LARGEST_ERROR) if self.n_labels < MIN_LABELS else self.spread


NOT_CALIBRATED = Calibration()


def calibrate(predicted_core_s: Sequence[float], measured_core_s: Sequence[float]) -> Calibration:
    """Return the correction of predictions, from labels that were made on a computer.

    Parameters
    ----------
    predicted_core_s
        Predicted core seconds of each label, without any correction.
    measured_core_s
        Measured seconds times threads of the same labels.
    """
    if not len(predicted_core_s):
        return Calibration()
    logarithms = np.log(np.asarray(measured_core_s) / np.asarray(predicted_core_s))
    factor = np.median(logarithms)
    spread = NORMAL * np.median(np.abs(logarithms - factor))
    return Calibration(float(np.exp(factor)), float(np.exp(spread)), len(logarithms))


def predict_core_s(
    atoms: Atoms, calculator: CalculatorSettings | None, calibration: Calibration = NOT_CALIBRATED
) -> float | None:
    """Return the predicted cost of a label in core seconds; None without a cost model and without labels.

    Parameters
    ----------
    atoms
        The structure.
    calculator
        The settings of the calculator; None for a calculator without a cost model.
    calibration
        The correction, from earlier labels.
    """
    if not isinstance(calculator, GPAWSettings) and not calibration.n_labels:
        return None
    return calibration.factor * relative_cost(atoms, calculator)


@dataclass(frozen=True)
class Cost:
    """The predicted cost of labels.

    Attributes
    ----------
    core_hours
        The prediction in core hours.
    uncertainty
        Factor within which the cost probably lies.
    n_measured
        Number of labels on the same computer that were used to correct the prediction.
    """

    core_hours: float
    uncertainty: float
    n_measured: int


def within_budget(core_s: Sequence[float], budget_core_hours: float) -> Screening:
    """Return which structures a budget allows.

    The budget is spent in the order of the structures. One that costs more than what is left is left out, but cheaper
    ones after it may still fit.

    Parameters
    ----------
    core_s
        Predicted core seconds of each structure.
    budget_core_hours
        Maximum sum of the predicted cost in core hours.

    Returns
    -------
    Screening
        For a structure that is left out, the value is its cost, and the limit is what was left of the budget, both in
        core hours.
    """
    kept: list[int] = []
    left_out: list[LeftOut] = []
    left_h = budget_core_hours
    for index, seconds in enumerate(core_s):
        if seconds / 3600 > left_h:
            left_out.append(LeftOut(index, seconds / 3600, left_h))
        else:
            kept.append(index)
            left_h -= seconds / 3600
    return Screening(tuple(kept), {RULE_BUDGET: tuple(left_out)} if left_out else {})


@dataclass(frozen=True)
class Prediction:
    """What labels are predicted to cost.

    Attributes
    ----------
    screening
        The structures that the budget allows, and those that it does not.
    core_s
        Core seconds of the structures that the budget allows and of the isolated atoms.
    """

    screening: Screening
    core_s: float


def predict_labels(
    structures: Sequence[Atoms],
    calculator: CalculatorSettings | None,
    calibration: Calibration = NOT_CALIBRATED,
    *,
    isolated_atoms: Collection[str] = (),
    budget_core_hours: float | None = None,
) -> Prediction | None:
    """Return what labels cost, and which of them a budget allows; None without a cost model and without labels.

    Parameters
    ----------
    structures
        The structures that have no label yet.
    calculator
        The settings of the calculator; None for a labeller without a cost model.
    calibration
        The correction by labels that were made before.
    isolated_atoms
        Symbols of the isolated atoms that are computed, too. The budget is spent on them first. The cost model
        treats such an atom as a spin-polarised structure in its box.
    budget_core_hours
        Maximum cost in core hours; None for no limit.
    """
    core_s = [predict_core_s(atoms, calculator, calibration) for atoms in structures]
    core_s_of_atoms = [predict_core_s(Atoms(symbol), calculator, calibration) for symbol in isolated_atoms]
    known = [cost for cost in core_s if cost is not None]
    total_s = sum(cost for cost in core_s_of_atoms if cost is not None)
    if len(known) < len(core_s) or None in core_s_of_atoms:
        return None
    screening = Screening(tuple(range(len(known))), {})
    if budget_core_hours is not None:
        screening = within_budget(known, max(0.0, budget_core_hours - total_s / 3600))
    return Prediction(screening, float(total_s + sum(known[index] for index in screening.kept)))

"""The settings of rounds: when they end, and how many labels they use."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.rounds.random_share import N_RANDOM


class HotRunsSettings(Settings):
    """Short runs at a high temperature, which show whether a new model is stable, compared with the previous model."""

    n_runs: int = Field(default=4, ge=1)
    """Number of runs, each from a different seed of the test set; fewer if the test set has fewer seeds."""
    n_steps: int = Field(default=1000, ge=1)
    """Number of steps of each run."""
    temperature_K: float | None = Field(default=None, gt=0)
    """Temperature in K; by default, 1.5 times the highest temperature of the explorations."""


class RoundsSettings(Settings):
    """Rounds of exploration, labelling and training.

    A model explores, frames are labelled, the starting model is fine-tuned on all labels, and the new model explores
    again.
    """

    maximum: int = Field(default=4, ge=1)
    """Maximum number of rounds."""
    target_force_error_eV_A: float = Field(gt=0)
    """Target for the root mean square error of the force components on the test set, in eV/Å."""
    target_stress_error_GPa: float | None = Field(default=None, gt=0)
    """Target for the root mean square error of the stress components in GPa; by default, there is none."""
    target_energy_error_eV_atom: float | None = Field(default=None, gt=0)
    """Target for the root mean square error of the energy per atom in eV, after the removal of an offset for each
    element; by default, there is none."""
    label_budget: int | None = Field(default=None, ge=1)
    """Maximum number of labels in all rounds together, including those of random frames. A round that might exceed it
    is not started. By default, there is no limit."""
    random_labels: int = Field(default=N_RANDOM, ge=6)
    """Number of frames that each round draws at random and labels in addition to ``sampling.n_structures``. They are
    drawn from at most half of the groups of seeds, one frame from each group if there are enough groups. One half of
    them calibrates the error bounds, and the other half joins the test set."""
    hot_runs: HotRunsSettings = HotRunsSettings()
    """Runs at a high temperature. No fewer of them must survive than with the previous model."""
    max_drift_eV_A: float | None = Field(default=None, gt=0)
    """Maximum root mean square difference from the forces of the starting model for structures of other chemical
    systems, in eV/Å. A model with a larger difference is not used. By default, 0.02 with the recipe ``replay``, and no
    bound with other recipes, which do not preserve what the model knows about other chemical systems."""
    estimate_labels: bool = True
    """After the first round, estimate how many labels are needed to reach the target. This requires two further
    training runs, on a quarter and on half of the labels."""

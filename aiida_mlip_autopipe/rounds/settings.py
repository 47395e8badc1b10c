"""The settings of rounds: when they end, and how many labels they use."""

from __future__ import annotations

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.rounds.random_share import N_RANDOM


class HotRunsSettings(Settings):
    """Short runs at a high temperature, which show whether a new model is stable, compared with the former model."""

    n_runs: int = Field(default=4, ge=1)
    """Number of runs, each from another seed of the test set; fewer if the test set has fewer seeds."""
    n_steps: int = Field(default=1000, ge=1)
    """Number of steps of each run."""
    temperature_K: float | None = Field(default=None, gt=0)
    """Temperature in K; by default, 1.5 times the highest temperature of the explorations."""


class RoundsSettings(Settings):
    """Rounds: the model explores, frames are labelled, the model is fine-tuned on all labels and explores again."""

    maximum: int = Field(default=4, ge=1)
    """Maximum number of rounds."""
    target_force_error_eV_A: float = Field(gt=0)
    """Target of the root mean square error of the force components on the test set, in eV/Å."""
    target_stress_error_GPa: float | None = Field(default=None, gt=0)
    """Target of the root mean square error of the stress components in GPa; by default, there is none."""
    target_energy_error_eV_atom: float | None = Field(default=None, gt=0)
    """Target of the root mean square error of the energy per atom in eV, after the removal of an offset for each
    element; by default, there is none."""
    label_budget: int | None = Field(default=None, ge=1)
    """Maximum number of labels of all rounds, including those of random frames. No round starts that might exceed it.
    By default, there is no limit."""
    random_labels: int = Field(default=N_RANDOM, ge=6)
    """Number of frames that each round draws at random and labels in addition to ``sampling.n_structures``. They are
    from at most half of the groups of seeds, one frame of each if there are enough groups. One half of them calibrates
    error bounds, the other half joins the test set."""
    hot_runs: HotRunsSettings = HotRunsSettings()
    """Runs at a high temperature, of which at least as many must survive as with the former model."""
    max_drift_eV_A: float | None = Field(default=None, gt=0)
    """Maximum root mean square change of the forces on structures of other elements, in eV/Å. A model that has changed
    more is not used. By default, 0.02 with the recipe ``replay``, and no bound with other recipes, which do not
    preserve what the model knows about other elements."""
    estimate_labels: bool = True
    """Estimate after the first round how many labels the target will take. This needs two further training runs, on a
    quarter and on half of the labels."""

"""What the rounds of a campaign would do, before it is submitted."""

from __future__ import annotations

from dataclasses import dataclass

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.workflows.inputs.rounds import check_training
from aiida_mlip_autopipe.workflows.rounds.trainings import FRACTIONS, N_TUNINGS

STEP_OF_TRAINING = 3.0
"""Time of a training step per structure, relative to an evaluation of its forces: forward, backward, and the backward
pass through the forces."""


@dataclass(frozen=True)
class RoundsPlan:
    """The expected size of the rounds.

    Attributes
    ----------
    maximum
        Maximum number of rounds.
    labels_per_round
        Number of labels of a round: random and selected frames.
    n_labels
        Maximum number of labels of all rounds.
    n_trainings
        Maximum number of training runs: three in each round, and two in the first one for the estimate of the number of
        labels.
    training_s
        Time in seconds of all training runs, one after another, on CPUs; None if the speed of the model is unknown.
    """

    maximum: int
    labels_per_round: int
    n_labels: int
    n_trainings: int
    training_s: float | None


def plan_rounds(config: CampaignConfig, mean_atoms: float, ms_per_atom: float | None) -> RoundsPlan | None:
    """Return the expected size of the rounds of a campaign; None without rounds.

    Parameters
    ----------
    config
        The campaign.
    mean_atoms
        Mean number of atoms of the seeds.
    ms_per_atom
        Time of an evaluation of the forces per atom in ms; None if it is unknown.

    Raises
    ------
    AutopipeError
        If the code of the trainer does not exist, or the model does not support an element of the seeds.
    """
    rounds, training = config.rounds, config.training
    if rounds is None or training is None:
        return None
    check_training(config)
    per_round = config.sampling.n_structures + rounds.random_labels
    n_rounds = rounds.maximum
    if rounds.label_budget is not None:
        n_rounds = min(n_rounds, rounds.label_budget // per_round)
    extra = FRACTIONS if rounds.estimate_labels else {}
    # One half of the random frames of each round is never trained on.
    trained = [number * (per_round - rounds.random_labels // 2) for number in range(1, n_rounds + 1)]
    n_rows = round(N_TUNINGS * sum(trained) + sum(extra.values()) * trained[0])
    n_epochs = training.complete(n_rows).n_epochs
    assert n_epochs is not None  # `complete` sets it
    step_s = None if ms_per_atom is None else STEP_OF_TRAINING * mean_atoms * ms_per_atom / 1000
    return RoundsPlan(
        maximum=n_rounds,
        labels_per_round=per_round,
        n_labels=n_rounds * per_round,
        n_trainings=N_TUNINGS * n_rounds + len(extra),
        training_s=None if step_s is None else n_rows * n_epochs * step_s,
    )

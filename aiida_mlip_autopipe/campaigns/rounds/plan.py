"""The expected size of the rounds of a campaign, before it is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.training.trainer import TrainerSettings
from aiida_mlip_autopipe.workflows.inputs.rounds import check_training
from aiida_mlip_autopipe.workflows.rounds.trainings import FRACTIONS, N_TUNINGS

STEP_OF_TRAINING = 3.0
"""Time of a training step per structure, relative to an evaluation of its forces: a forward pass, a backward pass for
the forces, and a backward pass for the loss."""


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
        Maximum number of training runs: three in each round, and two more in the first one for the estimate of the
        number of labels.
    training_s
        Time in seconds of all training runs, one after another, on CPUs; None if the speed of the model is unknown.
    """

    maximum: int
    labels_per_round: int
    n_labels: int
    n_trainings: int
    training_s: float | None


def plan_rounds(config: CampaignConfig, mean_atoms: float, ms_per_atom: Mapping[str, float]) -> RoundsPlan | None:
    """Return the expected size of the rounds of a campaign; None without rounds.

    Parameters
    ----------
    config
        The campaign.
    mean_atoms
        Mean number of atoms of the seeds.
    ms_per_atom
        Time per atom of an evaluation of the forces in ms, by the kind of calculator.

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
    sizes = [*N_TUNINGS * trained, *(round(fraction * trained[0]) for fraction in extra.values())]
    n_steps = sum(n_rows * _count_epochs(training, n_rows) for n_rows in sizes)
    known = ms_per_atom.get(training.kind)
    step_s = None if known is None else STEP_OF_TRAINING * mean_atoms * known / 1000
    return RoundsPlan(
        maximum=n_rounds,
        labels_per_round=per_round,
        n_labels=n_rounds * per_round,
        n_trainings=N_TUNINGS * n_rounds + len(extra),
        training_s=None if step_s is None else n_steps * step_s,
    )


def _count_epochs(training: TrainerSettings, n_rows: int) -> int:
    n_epochs = training.complete(n_rows).n_epochs
    assert n_epochs is not None  # `complete` sets it
    # After each batch of labels, there is one of structures for replay.
    return 2 * n_epochs if training.recipe == 'replay' else n_epochs

"""What the settings and the calculator of a run provide: the members of a committee, a bias, and the watch."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.exploration.novelty.bias import Bias
from aiida_mlip_autopipe.exploration.novelty.disagreement import Disagreement
from aiida_mlip_autopipe.exploration.novelty.distance import Distance
from aiida_mlip_autopipe.exploration.novelty.members import Members
from aiida_mlip_autopipe.exploration.novelty.reference import ReferenceEnvironments
from aiida_mlip_autopipe.exploration.novelty.watch import Watch
from aiida_mlip_autopipe.exploration.phase_space import Evaluate
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration
from aiida_mlip_autopipe.exploration.settings.novelty import DisagreementSettings, DistanceSettings

COMMITTEE_KIND = 'committee'


def committee_settings(settings: AnyExploration) -> list[str]:
    """Return the names of the settings that need a committee as calculator."""
    needs = {'novelty': isinstance(settings.novelty, DisagreementSettings), 'bias': settings.bias is not None}
    return [name for name, needed in needs.items() if needed]


def make_novelty(
    settings: AnyExploration,
    atoms: Atoms,
    calculator: Any,
    evaluate: Evaluate,
    with_stress: bool,
    reference: ReferenceEnvironments | None = None,
) -> tuple[Watch | None, Bias | None]:
    """Return the watch and the bias of a run; None for each that the settings do not request.

    Parameters
    ----------
    settings
        The settings of the run.
    atoms
        The seed.
    calculator
        The loaded calculator.
    evaluate
        Evaluates a structure with the calculator.
    with_stress
        Whether the stress is computed.
    reference
        The environments of the reference dataset; None without a reference dataset.
    """
    members, bias, watch = None, None, None
    if committee_settings(settings):
        members = Members([Evaluator(atoms.copy(), one, with_stress).evaluate for one in calculator.members[1:]])
    if settings.bias is not None and members is not None:
        bias = Bias(evaluate, members, settings.bias.strength, len(atoms))
    if isinstance(settings.novelty, DistanceSettings):
        novelty = settings.novelty
        if reference is not None and reference.threshold is not None:
            novelty = novelty.model_copy(update={'threshold': reference.threshold})
        watch = Watch(novelty, Distance(novelty, atoms, reference))
    elif settings.novelty is not None and members is not None:
        watch = Watch(settings.novelty, Disagreement(members))
    return watch, bias

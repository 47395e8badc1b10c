"""What the settings and the calculator of a run provide: the members of a committee, a bias, and the watch."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.exploration.novelty.bias import Bias
from aiida_mlip_autopipe.exploration.novelty.disagreement import Disagreement
from aiida_mlip_autopipe.exploration.novelty.members import Members
from aiida_mlip_autopipe.exploration.novelty.watch import Watch
from aiida_mlip_autopipe.exploration.phase_space import Evaluate
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration

COMMITTEE_KIND = 'committee'


def committee_settings(settings: AnyExploration) -> list[str]:
    """Return the names of the settings that need a committee as calculator."""
    needs = {'novelty': settings.novelty is not None, 'bias': settings.bias is not None}
    return [name for name, needed in needs.items() if needed]


def make_novelty(
    settings: AnyExploration, atoms: Atoms, calculator: Any, evaluate: Evaluate, with_stress: bool
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
    """
    if not committee_settings(settings):
        return None, None
    members = Members([Evaluator(atoms.copy(), member, with_stress).evaluate for member in calculator.members[1:]])
    watch = Watch(settings.novelty, Disagreement(members)) if settings.novelty else None
    return watch, Bias(evaluate, members, settings.bias.strength, len(atoms)) if settings.bias else None

"""Whether a seed can be explored with the settings, according to the rules that need no calculator."""

from __future__ import annotations

from aiida_mlip_autopipe.exploration.dynamics.ensembles import choose_for
from aiida_mlip_autopipe.exploration.dynamics.timestep import describe_long_timestep
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration
from aiida_mlip_autopipe.exploration.unused import describe_unused
from aiida_mlip_autopipe.structures.seed import Seed, fixed_mask, is_amorphous


def check_suitability(settings: AnyExploration, seed: Seed) -> list[str]:
    """Refuse a seed that a job would refuse, as far as this does not depend on the calculator.

    Parameters
    ----------
    settings
        The exploration of the seed.
    seed
        The seed.

    Returns
    -------
    list
        Warnings: settings that have no effect for this seed, and a time step that is too long.

    Raises
    ------
    EnsembleRefusedError
        If no atom can move, or the seed cannot be explored in the ensemble.
    MoveRefusedError
        If a Monte Carlo move is impossible.
    """
    atoms, record = seed.atoms, seed.record
    molecular = record.get('molecular', False)
    choice = choose_for(settings, atoms, form=record.get('form'), molecular=molecular, amorphous=is_amorphous(record))
    warnings = describe_unused(settings, choice.ensemble, choice.reason)
    if settings.kind != 'dynamics':
        return warnings
    if settings.monte_carlo is not None:
        factor = settings.guards.distance_factor
        molecules = atoms.get_tags() if molecular else None
        MonteCarlo(settings.monte_carlo, atoms, ~fixed_mask(atoms), choice.ensemble, factor, molecules)
    if settings.timestep_fs is not None and (warning := describe_long_timestep(settings.timestep_fs, atoms)):
        warnings.append(warning)
    return warnings

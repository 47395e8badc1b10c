"""The inputs of the exploration of one seed, from those of its campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida_mlip_autopipe.calculations.explore import entry_key, exploration_inputs, read_settings
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import DEFAULT_KIND
from aiida_mlip_autopipe.structures.seed import Place
from aiida_mlip_autopipe.workflows.inputs.codes import choose_code


def inputs_of_seed(
    campaign: Mapping[str, Any], seed: SeedData, place: Sequence[int], reference: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs of the first job of a seed, and the namespace of its code, which they include in part.

    Parameters
    ----------
    campaign
        The inputs of the campaign.
    seed
        The seed.
    place
        The position of the seed in its entry, and the index of the entry.
    reference
        The environments of the reference dataset as an input, if there is one.
    """
    job = dict(campaign['job'])
    *position, entry = place
    job.update(campaign.get('overrides', {}).get(entry_key(entry), {}))
    settings = read_settings(job)
    job.update(reference)
    seed_settings = settings.for_seed(Place(*position))
    if seed_settings != settings:
        job['exploration'] = exploration_inputs(seed_settings)['exploration']
    if settings.kind != DEFAULT_KIND:
        job.pop('full_trajectory_interval', None)  # only dynamics has a full trajectory
    job['seed'], job['random_seed'] = seed, campaign['random_seed']
    key = choose_code(job['random_seed'].value, f'seed_{seed.seed_id}', campaign['codes'])
    code = dict(campaign['codes'][key])
    job.update({name: value for name, value in code.items() if name not in ('options', 'stash')})
    return job, code

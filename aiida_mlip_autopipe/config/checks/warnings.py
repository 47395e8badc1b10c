"""All warnings about a config whose seeds were checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aiida_mlip_autopipe.config.campaign import CampaignConfig
from aiida_mlip_autopipe.config.checks.labelling import explorers_of, warn_of_explored_stresses, warn_of_labels
from aiida_mlip_autopipe.config.checks.seeds import SeedCheck
from aiida_mlip_autopipe.config.checks.sets import set_warnings
from aiida_mlip_autopipe.structures.rows.splits import Split


def campaign_warnings(
    config: CampaignConfig, checked: SeedCheck, known: Mapping[str, Collection[Split]] | None = None
) -> tuple[str, ...]:
    """Return the warnings about the seeds of a campaign, the sets of its dataset, and its labels.

    Parameters
    ----------
    config
        The campaign.
    checked
        The result of the check of its seeds.
    known
        The sets of each group of the reference dataset, as in `set_warnings`.
    """
    seeds = [seed.atoms for seed in checked.seeds if seed is not None]
    labels = warn_of_labels(config.labelling, seeds, explorers_of(config.calculators))
    stresses = warn_of_explored_stresses(seeds, config.calculators)
    return (*checked.warnings, *set_warnings(config, checked, known), *labels, *stresses)

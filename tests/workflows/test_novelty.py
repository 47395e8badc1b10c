"""A campaign with a committee, whose frames are kept by novelty."""

import pytest
from support.committees import COPPER

from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.storage import Dataset

pytestmark = pytest.mark.integration

NOVELTY = {'kind': 'disagreement', 'threshold_eV_per_A': 0.01, 'limit_eV_per_A': 50, 'always_every': 2}
COPPER_SEED = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'n_atoms': 8, 'validation': {'min_width_factor': 0.4}}


def test_a_biased_campaign_with_a_committee_makes_a_dataset_with_unbiased_labels(run_campaign, emt_code, tmp_path):
    node = run_campaign(
        generation=[COPPER_SEED | {'n_seeds': 1}],
        calculator=COPPER,
        exploration={'n_steps': 10, 'frame_interval': 2, 'novelty': NOVELTY, 'bias': {'strength': 0.1}},
        sampling={'n_structures': 3},
        execution={'code': emt_code.full_label},
    )
    assert node.is_finished_ok, node.exit_message
    (exploration,) = [one for one in node.called if one.process_label == 'ExplorationWorkChain']
    leg = exploration.outputs.legs.leg_01
    assert {'extra_force_deviation_eV_A', 'extra_bias_eV'} <= set(leg.get_arraynames())
    assert exploration.outputs.result['statistics']['novelty']['n'] == 5
    write_dataset(node, tmp_path / 'new.db')
    with Dataset(tmp_path / 'new.db') as dataset:
        rows = list(dataset.query())
    assert rows
    assert {row.provenance.label_source for row in rows} == {'mlip:emt'}

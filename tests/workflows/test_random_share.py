"""A dataset with frames that were drawn at random before the selection."""

import pytest
from aiida import orm

from aiida_mlip_autopipe.campaigns.export import read_rows
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin
from aiida_mlip_autopipe.campaigns.provenance.trace import trace_row

pytestmark = pytest.mark.integration

SECTIONS = {
    'generation': [
        {
            'kind': 'alloy',
            'lattice': 'fcc',
            'composition': {'Cu': 0.75, 'Au': 0.25},
            'supercell': [2, 2, 2],
            'n_seeds': 12,
            'validation': {'min_width_factor': 0.5},
        }
    ],
    'exploration': {'temperature_K': 300, 'n_steps': 4, 'frame_interval': 1},
    'sampling': {'kind': 'random', 'n_structures': 3},
}


@pytest.fixture(scope='module')
def campaign(run_campaign):
    def prepare(builder):
        builder.random_share = orm.Dict({'n_labels': 6, 'round': 1})

    node = run_campaign(prepare, **SECTIONS)
    assert node.is_finished_ok, node.exit_message
    return node


def test_no_frame_of_a_withheld_seed_is_selected(campaign):
    drawn = campaign.outputs.random_share.base.attributes
    assert sorted(drawn.get('roles')) == [*['calibration'] * 3, *['test'] * 3]
    selected = set(campaign.outputs.selection.base.attributes.get('seed_ids'))
    assert selected
    assert not selected & set(drawn.get('withheld_seeds'))
    assert len(read_rows(campaign)) == 9


def test_the_origin_of_a_random_row_is_the_draw(campaign):
    rows = read_rows(campaign)
    for row in rows:
        origin = find_origin(row)
        expected = campaign.outputs.selection if row.provenance.role is None else campaign.outputs.random_share
        assert origin.selection.uuid == expected.uuid
        place = origin.rank
        assert expected.base.attributes.get('seed_ids')[place] == row.provenance.seed_id
    random_row = next(row for row in rows if row.provenance.role)
    assert trace_row(find_origin(random_row)).selection.n_selected == 6

"""What made a row is found in the graph, wherever the row is stored now."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from aiida import orm
from aiida.tools.archive.abstract import get_format
from support.errors import refused

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.campaigns.provenance.archive import write_archive
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, Row

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def short(run_campaign):
    """A campaign whose explorations no other module has run."""
    return run_campaign(name='short', random_seed=20)


@pytest.fixture(scope='module')
def long(short, campaign_config, run_campaign):
    """A campaign in which two runs continue those of the short campaign, and one is taken from it unchanged."""
    alloy, aluminium = (entry.model_dump(mode='json') for entry in campaign_config().generation)
    alloy['exploration'] = {'n_steps': 40}
    sampling = {'n_structures': 20}
    return run_campaign(reuse=True, name='long', random_seed=20, generation=[alloy, aluminium], sampling=sampling)


def explorations(campaign):
    return [job for job in campaign.called_descendants if job.process_class is ExplorationCalculation]


def jobs(campaign):
    return {job.uuid for job in explorations(campaign)}


def of_leg(rows, second):
    return next(row for row in rows if (row.provenance.step > 20) is second)


def check(origin):
    """The frame is that of the row."""
    index, row = origin.frame, origin.row
    np.testing.assert_array_equal(origin.trajectory.get_positions()[index], row.atoms.positions)
    assert origin.trajectory.get_array('energies')[index] == row.labels['energy']
    assert origin.selection.get_array('step')[origin.rank] == row.provenance.step
    assert origin.seed.seed_id == row.provenance.seed_id


def test_the_origin_of_each_row_of_a_campaign_is_found(tiny_campaign):
    opened = open_dataset(str(tiny_campaign.pk))
    assert opened.node.uuid == tiny_campaign.outputs.dataset.uuid
    for row in opened.rows():
        origin = find_origin(row, opened.node)
        check(origin)
        assert origin.campaign.uuid == tiny_campaign.uuid
        assert [job.uuid for job in origin.jobs] == [row.provenance.exploration]
        assert origin.generation.process_label == 'generate_seeds'
        assert origin.generation.caller.uuid == tiny_campaign.uuid
        assert (origin.labels, origin.labelling) == (None, None)


def test_the_jobs_of_a_second_leg_begin_with_that_of_the_shorter_campaign(short, long):
    opened = open_dataset(long.uuid)
    origin = find_origin(of_leg(opened.rows(), second=True), opened.node)
    check(origin)
    first, last = origin.jobs
    assert first.uuid in jobs(short)
    assert last.uuid in jobs(long)
    assert last.inputs.checkpoint.uuid == first.outputs.checkpoint.uuid
    assert origin.campaign.uuid == long.uuid

    (job,) = find_origin(of_leg(opened.rows(), second=False), opened.node).jobs
    assert job.uuid in jobs(short)


def test_a_job_from_the_cache_is_replaced_with_the_original(short, long):
    opened = open_dataset(str(long.pk))
    row = next(row for row in opened.rows() if row.key_value_pairs['kind'] == 'structures')
    origin = find_origin(row, opened.node)
    check(origin)
    assert origin.campaign.uuid == long.uuid
    (job,) = origin.jobs
    assert job.uuid in jobs(short) - jobs(long)
    assert not job.base.caching.is_created_from_cache


def test_an_archive_contains_the_jobs_of_other_campaigns_that_made_its_rows(short, long, tmp_path):
    opened = open_dataset(str(long.pk))
    made = {job.uuid for row in opened.rows() for job in find_origin(row, opened.node).jobs}
    assert made & jobs(short)
    write_archive(long, tmp_path / 'long.aiida')
    # Another profile would close the storage of the nodes of this module.
    with get_format().open(tmp_path / 'long.aiida', 'r') as reader:
        archived = set(reader.querybuilder().append(orm.ProcessNode, project='uuid').all(flat=True))
    assert made <= archived
    assert short.uuid not in archived


def test_a_renamed_file_and_a_part_of_it_have_the_same_origins(tiny_campaign, tmp_path):
    write_dataset(tiny_campaign, tmp_path / 'tiny.db')
    renamed = tmp_path / 'renamed.db'
    shutil.move(tmp_path / 'tiny.db', renamed)
    opened = open_dataset(str(renamed))
    assert opened.node.uuid == tiny_campaign.outputs.dataset.uuid
    rows = opened.rows()

    part = tmp_path / 'part.db'
    with Dataset(part, create=True) as dataset:
        dataset.create(rows[3:5])
    opened = open_dataset(str(part))
    assert opened.node is None
    origin = find_origin(opened.row(2))
    check(origin)
    assert origin.rank == rows[4].provenance.rank
    assert origin.campaign.uuid == tiny_campaign.uuid


def test_a_row_that_cannot_be_traced_is_refused_with_the_reason(tiny_campaign, tmp_path):
    opened = open_dataset(tiny_campaign.label)
    with refused(Code.ROW_MISSING, '99', tiny_campaign.label, f'{len(opened.rows())} rows'):
        opened.row(99)
    with refused(Code.ROW_MISSING, '99', tiny_campaign.label):
        open_dataset(tiny_campaign.uuid).row(99)
    row = opened.row(1)
    imported = {'file': 'old.xyz', 'sha256': 'ab', 'frame': 7}
    with refused(Code.ORIGIN_UNKNOWN, 'row 4', '7', 'old.xyz'):
        find_origin(Row(row.atoms, {}, {'imported': imported}, 4))
    with refused(Code.ORIGIN_UNKNOWN):
        find_origin(Row(row.atoms))
    elsewhere = '00000000-0000-4000-8000-000000000000'
    moved = row.data | {'provenance': row.data['provenance'] | {'exploration': elsewhere, 'campaign': 'other'}}
    with refused(Code.ORIGIN_MISSING, elsewhere, 'other'):
        find_origin(Row(row.atoms, row.key_value_pairs, moved, 1))
    changed = row.data | {'provenance': row.data['provenance'] | {'step': 999}}
    with refused(Code.ORIGIN_MISSING, '999'):
        find_origin(Row(row.atoms, row.key_value_pairs, changed, 1))
    with refused(Code.FILE_MISSING, 'nowhere.db'):
        open_dataset(str(tmp_path / 'nowhere.db'))
    with refused(Code.CAMPAIGN_MISSING, 'nothing'):
        open_dataset('nothing')


def test_without_the_original_job_the_one_that_the_selection_used_is_found(tiny_campaign):
    row = open_dataset(tiny_campaign.label).row(1)
    unknown = row.data['provenance'] | {'exploration': '00000000-0000-4000-8000-000000000000'}
    origin = find_origin(Row(row.atoms, row.key_value_pairs, row.data | {'provenance': unknown}, 1))
    check(origin)
    assert origin.jobs[-1].uuid == row.provenance.exploration


def test_the_node_of_a_dataset_can_be_opened_by_its_pk(tiny_campaign):
    node = tiny_campaign.outputs.dataset
    assert open_dataset(str(node.pk)).row(1).id == 1
    assert len(open_dataset(node.uuid).rows()) == node.base.attributes.get('n_structures')
    with refused(Code.CAMPAIGN_MISSING):
        open_dataset(str(orm.Int(1).store().pk))

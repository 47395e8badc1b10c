"""The cache identifies the model files of a committee by their content and not by their paths."""

import shutil

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import run_get_node
from ase.build import bulk
from support.tiny_campaign import change_campaign

from aiida_mlip_autopipe.calculators import resolve_model
from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetSettings
from aiida_mlip_autopipe.campaigns.self_tests import run_self_test_job
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import FOLDER
from aiida_mlip_autopipe.installation.codes import ensure_code, read_tested_models
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.legs.earlier import find_earlier_legs

pytestmark = [pytest.mark.integration, pytest.mark.mlip, pytest.mark.long]

SHIPPED = ('7net-0', '7net-0_22may2024')


def build(folder, names):
    """Return the builder of a campaign with a committee of two files, whose folder is deleted."""
    folder.mkdir()
    bulk('Al', cubic=True).write(folder / 'al.xyz')
    for name, shipped in zip(names, SHIPPED, strict=True):
        shutil.copy(resolve_model(SevenNetSettings(model=shipped)), folder / name)
    sections = {
        'generation': [{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}],
        'calculator': {'kind': 'committee', 'members': [{'kind': 'sevennet', 'model': f'./{name}'} for name in names]},
        'exploration': {'n_steps': 4, 'novelty': {'kind': 'disagreement', 'threshold_eV_per_A': 0.0001}},
        'sampling': {'n_structures': 2},
        'execution': {'code': 'autopipe-sevennet@localhost', 'reuse_finished': True},
    }
    builder = DatasetWorkChain.get_builder_from_config(change_campaign(folder, sections))
    shutil.rmtree(folder)
    return builder


def jobs_of(campaign):
    return [node for node in campaign.called_descendants if isinstance(node, orm.CalcJobNode)]


@pytest.fixture(scope='module')
def code(emt_code, tmp_path_factory):
    emt_code.computer.set_property(FOLDER, str(tmp_path_factory.mktemp('models')))
    code = ensure_code(emt_code.computer, 'sevennet')[0]
    kept = code.base.extras.all
    yield code
    code.base.extras.reset(kept)


@pytest.fixture(scope='module')
def first(code, tmp_path_factory):
    return run_get_node(build(tmp_path_factory.mktemp('first') / 'campaign', ('a.pth', 'b.pth')))[1]


def test_the_models_of_the_members_are_inputs_and_the_first_one_labels_the_frames(first, code):
    assert first.is_finished_ok, first.exit_message
    (job,) = jobs_of(first)
    models = job.inputs.member_models
    assert [models.member_0.name, models.member_1.name] == ['a.pth', 'b.pth']
    assert job.outputs.result['model_sha256'] == models.member_0.sha256
    assert job.outputs.result['statistics']['novelty']['n'] > 0
    for model in models.values():
        assert read_tested_models(code)[model.sha256]['name'] == model.name
        assert 'Al' in model.base.attributes.get('elements')


def test_a_moved_campaign_with_renamed_models_is_reused(first, tmp_path):
    again = run_get_node(build(tmp_path / 'moved', ('c.pth', 'd.pth')))[1]
    assert again.is_finished_ok, again.exit_message
    leaves = [node for node in again.called_descendants if not isinstance(node, orm.WorkChainNode)]
    assert [node.process_label for node in leaves if not node.base.caching.is_created_from_cache] == []


def test_a_longer_exploration_continues_one_with_equal_models_only(first):
    (job,) = jobs_of(first)
    inputs = job.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested() | {'n_steps': orm.Int(6)}
    assert find_earlier_legs(inputs).legs.jobs == [job]
    other = ModelData.from_shipped('other', 'f' * 64, 'sevennet').store()
    inputs['member_models'] = {**inputs['member_models'], 'member_1': other}
    assert find_earlier_legs(inputs).legs is None


def test_a_self_test_job_links_the_models_of_the_members_and_reports_each(code, tmp_path):
    file = tmp_path / 'e.pth'
    shutil.copy(resolve_model(SevenNetSettings(model='7net-0')), file)
    members = [{'kind': 'emt'}, {'kind': 'sevennet', 'model': str(file)}]
    calculator = {'kind': 'committee', 'members': members}
    report = run_self_test_job(code, calculator, lambda builder: run_get_node(builder)[1], JobResources())
    assert report['model_sha256'] is None
    assert [member['model_sha256'] for member in report['members']] == [None, file_sha256(file)]
    assert [member['cutoff_A'] for member in report['members']] == [None, 5.0]
    assert calculator['members'] == members

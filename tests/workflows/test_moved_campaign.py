"""The cache identifies the files of a campaign by their content and not by their paths."""

import os
import shutil

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from support.tiny_campaign import change_campaign, write_structures

from aiida_mlip_autopipe.calculators import resolve_model
from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetSettings
from aiida_mlip_autopipe.data.model_store import FOLDER
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

pytestmark = [pytest.mark.integration, pytest.mark.mlip]


def fill_folder(folder, model_name, reference_name):
    """Write structures, a model and a reference dataset; return the sections of a config that refer to them."""
    folder.mkdir()
    write_structures(folder)
    shutil.copy(resolve_model(SevenNetSettings(model='7net-0')), folder / model_name)
    bulk('Al', cubic=True).write(folder / reference_name)
    return {
        'generation': [{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}],
        'calculator': {'kind': 'sevennet', 'model': f'./{model_name}'},
        'exploration': {'n_steps': 4},
        'sampling': {'n_structures': 2, 'reference_dataset': reference_name},
        'execution': {'reuse_finished': True},
    }


@pytest.fixture(scope='module')
def code(emt_code, tmp_path_factory):
    from aiida_mlip_autopipe.installation.codes import ensure_code

    emt_code.computer.set_property(FOLDER, str(tmp_path_factory.mktemp('models')))
    return ensure_code(emt_code.computer, 'sevennet')[0]


@pytest.fixture(scope='module')
def first(code, tmp_path_factory):
    """A campaign whose files were deleted after it was submitted."""
    folder = tmp_path_factory.mktemp('first') / 'campaign'
    builder = DatasetWorkChain.get_builder_from_config(
        change_campaign(folder, fill_folder(folder, 'model.pth', 'old.xyz'))
    )
    shutil.rmtree(folder)
    return run_get_node(builder)[1]


def test_all_files_may_be_deleted_after_submission(first):
    assert first.is_finished_ok, first.exit_message
    assert first.outputs.selection_report['n_reference'] == 1


def test_every_calculation_is_reused_if_files_moved_and_the_python_path_changed(first, tmp_path, monkeypatch):
    folder = tmp_path / 'moved'
    sections = fill_folder(folder, 'renamed.pth', 'other.xyz')
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([os.environ.get('PYTHONPATH', ''), str(tmp_path)]))
    again = run_get_node(DatasetWorkChain.get_builder_from_config(change_campaign(folder, sections)))[1]
    assert again.is_finished_ok, again.exit_message
    leaves = [node for node in again.called_descendants if not isinstance(node, orm.WorkChainNode)]
    assert {node.process_label for node in leaves} == {
        'generate_seeds',
        'ExplorationCalculation',
        'select_frames',
        'export_dataset',
    }
    assert [node.process_label for node in leaves if not node.base.caching.is_created_from_cache] == []

"""Labelling runs with structures that are suspicious, fail, are too large or too expensive. The jobs are real."""

from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from support.rows import _make_provenance

from aiida_mlip_autopipe.campaigns.labelling.progress import read_labelling
from aiida_mlip_autopipe.campaigns.labelling.runs import plan_labelling, read_report
from aiida_mlip_autopipe.config.labelling import LabellingConfig
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.labelling.labellers.custom import CustomLabeller
from aiida_mlip_autopipe.storage import export_dataset, make_row
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.labelling import labelling_inputs
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain

pytestmark = pytest.mark.integration

COUNTING = Path(__file__).parents[1] / 'support' / 'counting'
SETTINGS = {
    'kind': 'custom',
    'code': 'autopipe-emt@localhost',
    'calculator': 'unsteady_emt:UnsteadyEMT',
    'parameters': {'wrong_A3': [3.75**3, 3.85**3], 'raises_A3': [3.95**3, 4.05**3]},
    'level_name': 'mlip:unsteady',
    'energy': 'total',
    'isolated_atoms': False,
    'max_atoms': 4,
    'structures_per_job': 20,
}
# The rows that differ from the others, by what happens to them.
WRONG, OUTLYING, RAISES, LARGE = 10, 11, 12, 13


def make_structures():
    """Return ten similar crystals, and those that differ from them."""
    normal = [bulk('Cu', cubic=True, a=3.61) for _ in range(10)]
    structures = [*normal, *(bulk('Cu', cubic=True, a=a) for a in (3.8, 3.0, 4.0)), bulk('Cu', cubic=True) * (2, 1, 1)]
    for number, atoms in enumerate(structures):
        atoms.rattle(0.03, seed=number)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((len(atoms), 3)))
    return structures


@pytest.fixture(scope='module', autouse=True)
def unsteady(emt_code):
    """Let jobs import the calculator, and tell the program that it can vary how it computes a structure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(COUNTING))
        patch.setattr(CustomLabeller, 'variations', ('mixing',))
        yield


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp('dataset') / 'copper.db'
    rows = [
        make_row(atoms, _make_provenance(step=number, rank=number, architecture='lj'), {'kind': 'structures'})
        for number, atoms in enumerate(make_structures())
    ]
    export_dataset(path, rows)
    return path


@pytest.fixture(scope='module')
def make_config():
    def make(reuse=True, **settings):
        sections = {'labelling': {**SETTINGS, **settings}, 'execution': {'reuse_finished': reuse}}
        return LabellingConfig.model_validate(sections)

    return make


@pytest.fixture(scope='module')
def label(file, make_config):
    """Return a function that runs a labelling run to its end and returns its node."""

    def run(**settings):
        config, dataset = make_config(**settings), DatasetData.from_file(file)
        structures = [row.atoms for row in dataset.rows()]
        inputs = labelling_inputs(config.labelling, config.execution, structures, Environments()).inputs
        inputs |= {'dataset': dataset, 'max_concurrent_jobs': 1, 'reuse_finished': config.execution.reuse_finished}
        node = run_get_node(LabellingWorkChain, **inputs)[1]
        assert node.is_finished_ok, node.exit_message
        return node

    return run


def n_computed(run):
    jobs = sorted((job for job in run.called if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)
    return [len(job.outputs.labels.keys) for job in jobs]


@pytest.fixture(scope='module')
def first(label):
    return label()


def test_each_row_that_is_left_out_is_listed_with_its_rule(first):
    report = read_report(first)
    assert {one['row'] - 1: one['rule'] for one in report['dropped']} == {
        WRONG: 'repeat_differs',
        RAISES: 'raised',
        LARGE: 'max_atoms',
    }
    assert report['n_dropped_by_rule'] == {'max_atoms': 1, 'repeat_differs': 1, 'raised': 1}
    assert 'the density does not fit' in next(one['reason'] for one in report['dropped'] if one['rule'] == 'raised')


def test_suspicious_labels_are_computed_once_more_and_kept_if_they_agree(first):
    assert n_computed(first) == [13, 2]
    report = read_report(first)
    assert report['n_repeated'] == 2
    found = {one['row'] - 1: one for one in report['suspicious']}
    assert {row: (one['repeated'], one['kept']) for row, one in found.items()} == {
        WRONG: ('mixing', False),
        OUTLYING: ('mixing', True),
    }
    assert all(abs(why['value']) > why['limit'] for one in found.values() for why in one['because'])
    atoms = make_structures()[OUTLYING]
    (row,) = [row for row in first.outputs.dataset.rows() if row.key_value_pairs['step'] == OUTLYING]
    atoms.calc = EMT()
    assert row.labels['energy'] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def test_a_failed_structure_is_not_computed_again_but_reported(first, label):
    again = label()
    assert n_computed(again) == []
    report = read_report(again)
    assert (report['n_known'], report['n_failed_before']) == (12, 1)
    assert report['dropped'] == read_report(first)['dropped']
    assert read_labelling(again).n_failed == 1


def test_a_failed_structure_is_computed_again_on_request(first, label):
    again = label(retry_failed=True)
    assert n_computed(again) == [1]
    assert read_report(again)['n_failed_before'] == 0


def test_suspicious_labels_are_reported_if_nothing_is_repeated(first, label):
    report = read_report(label(repeat=False))
    assert [(one['row'] - 1, one['repeated'], one['kept']) for one in report['suspicious']] == [
        (WRONG, '', True),
        (OUTLYING, '', True),
    ]


def test_the_budget_is_spent_according_to_labels_made_before(first, label, file, make_config):
    known = plan_labelling(make_config(reuse=False), file)
    assert known.cost.n_measured >= 12
    per_label = known.cost.core_hours / 13
    settings = {'reuse': False, 'budget_core_hours': 3.5 * per_label}
    plan = plan_labelling(make_config(**settings), file)
    assert plan.n_dropped_by_rule == {'max_atoms': 1, 'budget_core_hours': 10}
    assert plan.cost.core_hours == pytest.approx(3 * per_label)
    run = label(**settings)
    assert n_computed(run) == [3]
    assert run.outputs.report['n_dropped_by_rule'] == plan.n_dropped_by_rule


def test_the_plan_counts_known_labels_and_failures(first, file, make_config):
    plan = plan_labelling(make_config(), file)
    assert (plan.n_structures, plan.n_known, plan.n_failed_before, plan.n_jobs) == (13, 12, 1, 0)
    retried = plan_labelling(make_config(retry_failed=True), file)
    assert (retried.n_failed_before, retried.n_jobs) == (0, 1)

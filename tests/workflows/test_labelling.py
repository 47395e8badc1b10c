"""Labelling runs with EMT as reference method. The jobs are real."""

import asyncio
import sys

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from ase.calculators.emt import EMT
from support.at_once import run_at_once
from support.errors import refused
from support.labelling_runs import *  # noqa: F403
from support.labelling_runs import make_structure
from support.stub_campaign import make_runner

from aiida_mlip_autopipe.campaigns.labelling.progress import labelling_warnings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.workflows.graph import STOP_REQUESTED
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def label(make_inputs):
    """Return a function that runs a labelling run to its end and returns its node."""

    def run(dataset, **changes):
        return run_get_node(LabellingWorkChain, **make_inputs(dataset, **changes))[1]

    return run


def rows_of(node):
    return node.outputs.dataset.rows()


def jobs_of(node):
    return [job for job in sorted(node.called, key=lambda job: job.pk) if isinstance(job, orm.CalcJobNode)]


def n_computed(job):
    return len(job.outputs.labels.keys) if 'labels' in job.outputs else 0


@pytest.fixture(scope='module')
def first(label, make_dataset):
    return label(make_dataset(1, 2, 3, 1), structures_per_job=2)


def test_the_rows_have_the_labels_of_the_reference_method_and_keep_the_others(first):
    assert first.is_finished_ok, first.exit_message
    assert len(rows_of(first)) == 4
    for row, number in zip(rows_of(first), (1, 2, 3, 1), strict=True):
        atoms = make_structure(number)
        before = atoms.calc.results
        np.testing.assert_array_equal(row.atoms.positions, atoms.positions)
        atoms.calc = EMT()
        assert row.labels['energy'] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(row.labels['forces'], atoms.get_forces(), atol=1e-12)
        np.testing.assert_allclose(row.labels['stress'], atoms.get_stress(), atol=1e-14)
        assert (row.level.name, row.provenance.labelled.architecture) == ('mlip:emt', 'emt')
        assert row.data['labels_before']['mlip:lj']['energy'] == before['energy']
        assert row.data['isolated_atoms'] == {'Cu': 3.51, 'Au': 3.80}


def test_a_structure_that_two_rows_share_is_computed_once(first):
    assert sum(map(n_computed, jobs_of(first))) == 3
    report = first.outputs.report
    assert (report['n_rows'], report['n_labelled'], report['n_structures'], report['n_known']) == (4, 4, 3, 0)


def test_the_graph_leads_from_a_row_to_the_job_that_labelled_it(first):
    for row in rows_of(first):
        about = row.data['labelling']
        labels = orm.load_node(about['labels'])
        assert about['key'] in labels.keys
        assert labels.creator.caller.pk == first.pk


def test_repeating_a_run_computes_nothing(first, label, make_dataset):
    again = label(make_dataset(1, 2, 3, 1))
    assert again.is_finished_ok
    assert jobs_of(again) == []
    assert again.outputs.report['n_known'] == 3
    for row, other in zip(rows_of(again), rows_of(first), strict=True):
        assert row.labels['energy'] == other.labels['energy']
        np.testing.assert_array_equal(row.labels['forces'], other.labels['forces'])


def test_a_run_with_another_dataset_computes_only_new_structures(first, label, make_dataset):
    other = label(make_dataset(4, 3, 2))
    assert [n_computed(job) for job in jobs_of(other)] == [1]
    assert other.outputs.report['n_known'] == 2


def test_nothing_is_reused_if_reuse_finished_is_false(first, label, make_dataset):
    other = label(make_dataset(1), reuse=False)
    assert sum(map(n_computed, jobs_of(other))) == 1
    assert other.outputs.report['n_known'] == 0


def test_a_run_at_another_level_computes_structures_again(first, label, make_dataset):
    other = label(
        make_dataset(1), calculator={'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3}, code='autopipe-emt@localhost'
    )
    assert other.is_finished_ok, other.exit_message
    assert sum(map(n_computed, jobs_of(other))) == 1
    assert rows_of(other)[0].level.hash != rows_of(first)[0].level.hash


def report_as(outcome, n_labels):
    """Return a shell command after which a job has the first labels only, and a result with another outcome."""
    keep = f'head -n {n_labels} {LABELS_FILE} > kept; mv kept {LABELS_FILE}; '
    fields = {'outcome': f'"{outcome}"', 'n_frames': str(n_labels)}
    return keep + '; '.join(
        f'sed -i \'s/\\("{name}": *\\)[^,]*/\\1{value}/\' {RESULT_FILE}' for name, value in fields.items()
    )


# For each case, what follows the program of a job, the number of structures, the exit code of the run, the numbers of
# labels that its jobs kept, and the rules of the structures without a label.
CASES = {
    'out of wall time once': (f'mkdir {{once}} && {{ {report_as("out_of_walltime", 1)}; }}', 3, 0, [1, 2], {}),
    'out of wall time without a label': (
        report_as('out_of_walltime', 0),
        1,
        LabellingWorkChain.exit_codes.ERROR_NO_LABELS.status,
        [0],
        {},
    ),
    'killed by its second structure': (
        f'n=$(wc -l < {LABELS_FILE}); if [ $n = 3 ]; then {report_as("killed", 1)}; '
        f'elif [ $n = 2 ]; then {report_as("killed", 0)}; fi',
        3,
        0,
        [1, 0, 1],
        {'killed': 1},
    ),
}


@pytest.fixture(scope='module')
def ended(make_inputs, make_dataset, tmp_path_factory):
    """The labelling runs, by case."""
    folder, inputs = tmp_path_factory.mktemp('once'), []
    for number, (script, n, *_) in enumerate(CASES.values()):
        dataset = make_dataset(*(100 * (number + 1) + offset for offset in range(n)))
        options = {'append_text': script.replace('{once}', f'{folder}/{number}')}
        inputs.append(make_inputs(dataset, script=options, isolated_atoms=False))
    return dict(zip(CASES, run_at_once(LabellingWorkChain, inputs), strict=True))


@pytest.mark.parametrize('case', CASES)
def test_the_labels_of_an_interrupted_job_are_kept_and_another_job_computes_the_rest(ended, case):
    _, _, status, n_kept, rules = CASES[case]
    run = ended[case]
    assert run.exit_status == status, run.exit_message
    assert [n_computed(job) for job in jobs_of(run)] == n_kept
    keys = [key for job in jobs_of(run) if 'labels' in job.outputs for key in job.outputs.labels.keys]
    assert len(set(keys)) == len(keys)
    if status == 0:
        assert run.outputs.report['n_dropped_by_rule'] == rules
        assert len(rows_of(run)) == 3 - sum(rules.values())


def test_a_row_without_a_label_is_left_out_and_listed_with_the_reason(ended):
    (dropped,) = ended['killed by its second structure'].outputs.report['dropped']
    assert (dropped['row'], dropped['rule']) == (2, 'killed')
    first, listed = labelling_warnings(ended['killed by its second structure'])
    assert dropped['reason'] in first
    assert str(ended['killed by its second structure'].outputs.report.pk) in listed
    assert [row.key_value_pairs['step'] for row in rows_of(ended['killed by its second structure'])][1] % 100 == 2


def test_a_job_that_refuses_its_environment_fails_the_run_which_starts_no_further_jobs(make_inputs, make_dataset):
    inputs = make_inputs(make_dataset(11, 12, 13, 14, 15), structures_per_job=1, isolated_atoms=False)
    environment = inputs['job']['environment'].get_dict() | {'numpy': '1.0.0'}
    inputs['job']['environment'] = orm.Dict(environment)
    run = run_get_node(LabellingWorkChain, **inputs)[1]
    assert run.exit_status == LabellingWorkChain.exit_codes.ERROR_JOB.status
    assert 'numpy' in run.exit_message
    assert len(jobs_of(run)) == 2
    assert 'dataset' not in run.outputs


# What follows the program of a job of isolated atoms: it reports that none of them, or only the first, was computed.
WITHOUT_ATOMS = """
import json
result = json.load(open("{file}"))
energies = result["isolated_atom_energies_eV"]
if energies:
    kept = dict(list(energies.items())[:{n_kept}])
    events = [
        dict(step=0, rule="raised", message=f"an isolated atom of {{symbol}} cannot be computed: no neighbours")
        for symbol in energies.keys() - kept.keys()
    ]
    outcome = "completed" if kept else "no_frame"
    result.update(isolated_atom_energies_eV=kept, events=events, outcome=outcome, message=events[0]["message"])
    json.dump(result, open("{file}", "w"))
"""


@pytest.mark.parametrize(('n_kept', 'energies'), [(0, {}), (1, {'Au': 3.80})])
def test_without_isolated_atoms_the_rows_keep_their_labels_and_the_report_says_why(
    make_inputs, make_dataset, n_kept, energies
):
    program = WITHOUT_ATOMS.format(file=RESULT_FILE, n_kept=n_kept)
    script = {'append_text': f"{sys.executable} -c '{program}'"}
    run = run_get_node(LabellingWorkChain, **make_inputs(make_dataset(51, 52), reuse=False, script=script))[1]
    assert run.is_finished_ok, run.exit_message
    assert [row.data.get('isolated_atoms', {}) for row in rows_of(run)] == [energies] * 2
    report = run.outputs.report
    assert (report['n_labelled'], report['isolated_atom_energies_eV']) == (2, energies)
    failed = report['isolated_atoms_failed']
    assert set(failed) == {'Au', 'Cu'} - energies.keys()
    assert all(symbol in reason and 'no neighbours' in reason for symbol, reason in failed.items())
    assert labelling_warnings(run) == list(failed.values())


def test_a_stopped_run_submits_no_job(make_inputs, make_dataset):
    runner = make_runner()
    run = instantiate_process(runner, LabellingWorkChain, **make_inputs(make_dataset(21)))
    run.node.base.extras.set(STOP_REQUESTED, True)
    runner.run_until_complete(asyncio.wait_for(run.step_until_terminated(), 60))
    assert run.node.exit_status == LabellingWorkChain.exit_codes.ERROR_STOPPED.status
    assert jobs_of(run.node) == []


def test_a_budget_is_refused_if_the_cost_cannot_be_predicted(make_inputs, make_dataset):
    with refused(Code.VALUES_EXCLUDE, 'labelling.budget_core_hours: ', '2', "'calculator'"):
        calculator = {'kind': 'lj', 'epsilon_eV': 0.45, 'sigma_A': 2.3}  # which has not labelled anything
        make_inputs(make_dataset(31), budget_core_hours=2, calculator=calculator, code='autopipe-emt@localhost')

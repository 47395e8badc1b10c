"""Rows are computed again from their seeds, and are identical bit for bit."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from support.altered import altered_bit, stored_file
from support.errors import assert_refused, refused
from typer.testing import CliRunner

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.campaigns.provenance.alterations import find_altered_nodes, find_altered_values
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
from aiida_mlip_autopipe.campaigns.provenance.reproduction import reproduce_rows, sample_rows
from aiida_mlip_autopipe.campaigns.provenance.rerun import Means
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.structures.rows.labels import OTHER_LABELS

pytestmark = pytest.mark.integration

CODE = 'autopipe-emt@localhost'
ALLOY = {
    'kind': 'alloy',
    'lattice': 'fcc',
    'composition': {'Cu': 0.5, 'Au': 0.5},
    'supercell': [2, 2, 2],
    'n_seeds': 1,
    'validation': {'min_width_factor': 0.5},
}
# A change to the package in the jobs: atoms do not interact, so no run becomes unstable.
WEAK = """\
from aiida_mlip_autopipe.calculators.kinds.lj import ShiftedForceLennardJones as Potential
original = Potential.__init__
Potential.__init__ = lambda self, settings: original(self, settings.model_copy(update={'epsilon_eV': 1e-9}))
"""
SWAPS = {'moves': [{'kind': 'swap'}], 'n_md_steps': 2, 'n_trials': 2}


@pytest.fixture(scope='module')
def extended(run_campaign):
    """EMT, NPT with swaps; the second leg continues a finished campaign."""
    sections = {
        'generation': [ALLOY],
        'exploration': {
            'temperature_K': 800,
            'ensemble': 'npt',
            'n_steps': 10,
            'frame_interval': 2,
            'monte_carlo': SWAPS,
        },
        'sampling': {'kind': 'random', 'n_structures': 5},
        'reuse': True,
    }
    first = run_campaign(**sections)
    assert first.is_finished_ok
    longer = {**sections['exploration'], 'n_steps': 20}
    campaign = run_campaign(**{**sections, 'exploration': longer, 'sampling': {'kind': 'random', 'n_structures': 10}})
    assert campaign.is_finished_ok
    return campaign


@pytest.fixture(scope='module')
def recovered(run_campaign):
    """Lennard-Jones, NVT; the second leg recovers the first, which was unstable. EMT labels the rows."""
    campaign = run_campaign(
        generation=[{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}],
        calculator={'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3, 'cutoff_A': 6.0},
        execution={'code': CODE},
        exploration={
            'temperature_K': 300,
            'ensemble': 'nvt',
            'n_steps': 20,
            'frame_interval': 3,
            'guards': {'force_eV_per_A': 0.5},
            'recovery': {'max_recoveries': 1, 'temperature_factor': 0.02},
        },
        sampling={'kind': 'random', 'n_structures': 6},
        labelling={'kind': 'calculator', 'calculator': {'kind': 'emt'}, 'code': CODE},
    )
    assert campaign.is_finished_ok
    return campaign


def of_steps(dataset, *steps):
    """Return the ids of the rows at some steps."""
    return [row.id for row in dataset.rows() if row.provenance.step in steps]


def with_bit_flipped(values, *index):
    """Return an array with the last bit of one number changed."""
    changed = np.array(values, dtype=float)
    changed[index] = np.nextafter(changed[index], np.inf)
    return changed


def altered_copy(row, quantity):
    """Return a row with the last bit of one of its numbers changed."""
    atoms, results = row.atoms.copy(), dict(row.atoms.calc.results)
    if quantity == 'positions':
        atoms.positions = with_bit_flipped(atoms.positions, 0, 0)
    elif quantity == 'cell':
        atoms.set_cell(with_bit_flipped(atoms.cell.array, 0, 0))
    elif quantity == 'energy':
        results['energy'] = float(np.nextafter(results['energy'], np.inf))
    else:
        results[quantity] = with_bit_flipped(results[quantity], 0)
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.calc.name = row.atoms.calc.name
    return replace(row, atoms=atoms)


def test_rows_of_two_legs_with_swaps_are_identical(extended):
    dataset = open_dataset(extended.uuid)
    rows = dataset.rows()
    assert {row.provenance.step > 10 for row in rows} == {True, False}
    assert max(row.key_value_pairs['step'] for row in rows) > 10
    assert extended.called_descendants
    lines = []
    found = list(reproduce_rows(dataset, [row.id for row in rows], notify=lines.append))
    assert len(found) == len(rows) == 10
    assert len(lines) == 1, 'rows of one run are computed together'
    assert [(one.frame.outcome, one.frame.differences, one.altered) for one in found] == [('identical', (), ())] * 10
    assert {one.frame.environment.split()[0] for one in found} == {CODE}
    assert {one.label for one in found} == {None}


@pytest.mark.long
def test_rows_of_a_recovered_run_and_their_labels_are_identical(recovered):
    first, second = sorted(
        (job for job in recovered.called_descendants if job.process_class is ExplorationCalculation),
        key=lambda job: job.pk,
    )
    assert (first.exit_status, second.exit_status) == (410, 0)
    dataset = open_dataset(recovered.uuid)
    rows = dataset.rows()
    assert any(row.provenance.exploration == second.uuid for row in rows)
    found = list(reproduce_rows(dataset, [row.id for row in rows]))
    assert [one.frame.outcome for one in found] == ['identical'] * len(rows)
    assert [one.label.outcome for one in found] == ['identical'] * len(rows)
    assert all(one.is_identical for one in found)


@pytest.mark.long
def test_a_run_that_does_not_become_unstable_again_is_reported(recovered, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    (tmp_path / 'sitecustomize.py').write_text(WEAK)
    dataset = open_dataset(recovered.uuid)
    row = max(dataset.rows(), key=lambda row: row.provenance.step)
    first = find_origin(row).jobs[0]
    (one,) = reproduce_rows(dataset, [row.id], with_labels=False)
    assert (one.frame.outcome, one.label) == ('differs', None)
    assert f'step {first.outputs.result["last_step"]}' in one.frame.message


def test_one_altered_bit_of_a_row_is_found(extended, tmp_path):
    path = tmp_path / 'altered.db'
    write_dataset(extended, path)
    row = open_dataset(extended.uuid).row(1)
    assert find_altered_values(find_origin(row)) == []
    for quantity in ('positions', 'cell', 'energy', 'forces', 'stress'):
        (found,) = find_altered_values(find_origin(altered_copy(row, quantity)))
        assert quantity in found
    with Dataset(path) as dataset:
        dataset.update(altered_copy(row, 'positions'))
    (one,) = reproduce_rows(open_dataset(str(path)), [1])
    assert one.frame.outcome == 'differs'
    assert [(found.quantity, found.compared_with) for found in one.frame.deviations] == [('positions', 'row')]
    assert 0 < one.frame.deviations[0].largest < 1e-14
    assert len(one.altered) == 1
    assert not one.is_identical


@pytest.mark.long
def test_one_altered_bit_of_a_label_is_found(recovered):
    row = open_dataset(recovered.uuid).row(1)
    assert find_altered_values(find_origin(row)) == []
    for quantity in ('energy', 'forces'):
        (found,) = find_altered_values(find_origin(altered_copy(row, quantity)))
        assert quantity in found
    before = row.data[OTHER_LABELS]['mlip:lj']
    data = row.data | {OTHER_LABELS: {'mlip:lj': before | {'energy': float(np.nextafter(before['energy'], 0))}}}
    assert len(find_altered_values(find_origin(replace(row, data=data)))) == 1


def test_one_altered_bit_in_the_graph_is_found(extended):
    origin = find_origin(open_dataset(extended.uuid).row(1))
    assert find_altered_nodes(origin) == []
    for node in (origin.trajectory, origin.seed):
        name = next(iter(node.base.repository.metadata['o']))
        with altered_bit(stored_file(node, name)):
            found = find_altered_nodes(origin)
        # Nodes share files with the same content.
        assert any(repr(name) in one and str(node.pk) in one for one in found)
    assert find_altered_nodes(origin) == []


@pytest.fixture
def other_ase(tmp_path, monkeypatch):
    """Give the jobs a version of ASE with a slightly different EMT; return a function that changes its number."""
    folder = tmp_path / 'other'
    folder.mkdir()
    monkeypatch.setenv('PYTHONPATH', str(folder))
    change = "emt.parameters['Cu'] = (emt.parameters['Cu'][0] * (1 + 1e-9), *emt.parameters['Cu'][1:])"
    (folder / 'sitecustomize.py').write_text(f'from ase.calculators import emt\n{change}\n')

    def release(number):
        info = folder / f'ase-{number}.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: ase\nVersion: {number}\n')

    return release


def test_a_deviation_and_the_version_that_explains_it_are_reported(extended, other_ase):
    dataset = open_dataset(extended.uuid)
    rows = of_steps(dataset, 2)
    (unexplained,) = reproduce_rows(dataset, rows)
    assert (unexplained.frame.outcome, unexplained.frame.differences) == ('differs', ())
    assert {one.quantity for one in unexplained.frame.deviations} >= {'positions', 'energy', 'forces'}
    assert {one.compared_with for one in unexplained.frame.deviations} == {'row', 'graph'}
    assert all(0 < one.largest < 1e-3 for one in unexplained.frame.deviations)
    other_ase('99.0')
    (explained,) = reproduce_rows(dataset, rows)
    assert explained.frame.deviations == unexplained.frame.deviations
    assert f'ase {version("ase")} -> 99.0' in explained.frame.differences


@pytest.mark.long
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason='there is only one core')
def test_another_number_of_threads_is_reported(extended, monkeypatch):
    monkeypatch.setenv('NCPUS', '2')
    dataset = open_dataset(extended.uuid)
    (one,) = reproduce_rows(dataset, of_steps(dataset, 2))
    assert 'threads 1 -> 2' in one.frame.differences


def test_an_interpreter_without_the_package_cannot_run_the_job(extended, tmp_path):
    program = tmp_path / 'python'
    program.write_text('#!/bin/sh\necho no such module >&2\nexit 1\n')
    program.chmod(0o700)
    (one,) = reproduce_rows(open_dataset(extended.uuid), [1], Means(str(program)))
    assert (one.frame.outcome, one.frame.message) == ('not_run', 'no such module')
    assert one.frame.environment == str(program)


def test_a_sample_is_the_same_each_time_and_invalid_amounts_are_refused(extended):
    dataset = open_dataset(extended.uuid)
    assert sample_rows(dataset, '30%') == sample_rows(dataset, '3')
    assert len(sample_rows(dataset, '30%')) == 3
    assert len(sample_rows(dataset, '1%')) == 1
    assert sample_rows(dataset, '1000') == list(range(1, 11))
    for amount in ('0', '-1', '0%', '101%', '1.5', 'all', '', '%'):
        with refused(Code.VALUE_INVALID, repr(amount)):
            sample_rows(dataset, amount)


def test_the_command_prints_json_and_its_exit_code_is_the_outcome(extended, tmp_path):
    from aiida_mlip_autopipe.cli.app import app

    def run(*arguments):
        done = CliRunner().invoke(app, ['reproduce', *arguments])
        return done.exit_code, done.stdout, done.stderr

    status, text, _ = run(str(extended.pk), '--sample', '1', '--json')
    assert (status, [one['frame']['outcome'] for one in json.loads(text)]) == (0, ['identical'])
    status, text, _ = run(str(extended.pk), '1', '--python', '/bin/false')
    assert status == 1
    assert 'cannot be run' in text
    for code, *arguments in (
        (Code.VALUES_INCOMPLETE,),
        (Code.VALUES_EXCLUDE, '1', '--sample', '2'),
        (Code.VALUES_EXCLUDE, '1', '--python', 'a', '--code', 'b'),
        (Code.FILE_MISSING, '1', '--python', 'nowhere'),
        (Code.FILE_MISSING, '1', '--model', 'nowhere'),
        (Code.VALUE_INVALID, '1', '--model', __file__),
        (Code.CODE_MISSING, '1', '--code', 'nowhere'),
        (Code.ROW_MISSING, '1000'),
    ):
        assert_refused(run(str(extended.pk), *arguments)[2], code)

"""One structure is labelled by a process of another plugin: with ASE's EMT, and with Quantum ESPRESSO."""

import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.units import Rydberg
from support.process_labels import *  # noqa: F403
from support.process_labels import EMT_SETTINGS

from aiida_mlip_autopipe.campaigns.history.queries import count_jobs, measure_costs
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.labelling.labellers.ase import AseLabelling
from aiida_mlip_autopipe.labelling.labellers.espresso import EspressoLabelling
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.labelling import labelling_inputs
from aiida_mlip_autopipe.workflows.inputs.process_labelling import process_inputs
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain
from aiida_mlip_autopipe.workflows.process_label import ProcessLabellingWorkChain

PSEUDO = Path('/usr/share/espresso/pseudo/Si.pbe-rrkj.UPF')
MESH = [3, 3, 3]
CUTOFFS = {'plane_wave_cutoff_eV': 300.0, 'density_cutoff_eV': 1200.0}
# The plugin and ASE use different values of the Rydberg constant.
RYDBERG = 2e-8

MISSING = [
    name
    for name, is_there in {
        'pw.x': shutil.which('pw.x'),
        'quantum-espresso-data': PSEUDO.is_file(),
        'aiida-quantumespresso': find_spec('aiida_quantumespresso'),
    }.items()
    if not is_there
]
needs_pw = pytest.mark.skipif(bool(MISSING), reason=f'not installed: {", ".join(MISSING)}')


@pytest.fixture
def as_root(monkeypatch):
    """Allow Open MPI to run in a container, in which the user may be root."""
    for name in ('OMPI_ALLOW_RUN_AS_ROOT', 'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM'):
        monkeypatch.setenv(name, '1')


def label(settings, structures, dataset, item=0):
    """Label a structure, or an isolated atom; return the outcome, the output node and the expected level."""
    inputs, level = process_inputs(settings, structures, JobResources())
    node = orm.Int(item) if isinstance(item, int) else orm.Str(item)
    outputs, process = run_get_node(ProcessLabellingWorkChain, **inputs, dataset=dataset, item=node)
    assert process.is_finished_ok, process.exit_message
    labels = outputs['labels']
    assert labels.level.hash == LevelOfTheory.model_validate(level.get_dict()).hash
    return next(iter(labels.outcomes()), None), labels


@pytest.mark.integration
def test_emt_through_aiida_ase_gives_the_results_of_emt(make_dataset, make_code, silicon, copper):
    """EMT does not support silicon, so one structure fails."""
    dataset = make_dataset(copper, silicon)
    settings = AseLabelling(**EMT_SETTINGS, code=make_code().full_label)
    found, _ = label(settings, [copper, silicon], dataset)
    copper.calc = EMT()
    assert found.energy_eV == pytest.approx(copper.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(found.forces_eV_A, copper.get_forces(), atol=1e-10)
    np.testing.assert_allclose(found.stress_eV_A3, copper.get_stress(), atol=1e-10)
    (attempt,) = found.attempts
    assert attempt.converged
    assert attempt.seconds > 0
    failure, _ = label(settings, [copper, silicon], dataset, item=1)
    assert failure.rule == 'raised'
    assert 'NotImplementedError' in failure.reason


@pytest.mark.integration
def test_a_labelling_run_starts_a_process_of_the_plugin_for_each_structure(make_dataset, make_code, silicon, copper):
    """EMT does not support silicon, so one row has no label."""
    settings = AseLabelling(**EMT_SETTINGS, code=make_code().full_label)
    inputs = labelling_inputs(settings, ExecutionSettings(), [copper, silicon], Environments()).inputs
    dataset = make_dataset(copper, silicon)
    outputs, run = run_get_node(LabellingWorkChain, **inputs, dataset=dataset, max_concurrent_jobs=2)
    assert run.is_finished_ok, run.exit_message
    (row,) = outputs['dataset'].rows()
    copper.calc = EMT()
    assert row.labels['energy'] == pytest.approx(copper.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(row.labels['stress'], copper.get_stress(), atol=1e-10)
    assert row.level.name == 'mlip:emt'
    assert row.provenance.labelled.ase_version == version('ase')
    assert outputs['report']['n_labelled'] == 1
    (cost,) = measure_costs(run).to_dict('records')
    records = [record for labels in run.outputs.labels.values() for record in labels.base.attributes.get('records')]
    seconds = [record['seconds'] for record in records]
    assert (cost['n_jobs'], cost['n_force_calls']) == (len(seconds), len(seconds))
    assert 3600 * cost['core_hours'] == pytest.approx(sum(seconds))
    assert count_jobs(run)['core_hours'].sum() == pytest.approx(cost['core_hours'])


@pytest.fixture
def espresso(make_code, as_root):
    def make(**fields):
        code = make_code(shutil.which('pw.x'), 'quantumespresso.pw')
        given = {'code': code.full_label, 'pseudopotentials': {'Si': PSEUDO}, 'kspacing_per_A': 0.75, **CUTOFFS}
        return EspressoLabelling(**{**given, **fields})

    return make


def run_directly(atoms, folder):
    """Return the results of pw.x for a structure, with an input that ASE writes and an output that ASE reads."""
    system = {
        'ecutwfc': CUTOFFS['plane_wave_cutoff_eV'] / Rydberg,
        'ecutrho': CUTOFFS['density_cutoff_eV'] / Rydberg,
        'occupations': 'smearing',
        'smearing': 'fermi-dirac',
        'degauss': 0.1 / Rydberg,
    }
    data = {
        'control': {'calculation': 'scf', 'tprnfor': True, 'tstress': True, 'pseudo_dir': str(PSEUDO.parent)},
        'system': system,
        'electrons': {'conv_thr': 1e-10},
    }
    pseudopotentials = {'Si': PSEUDO.name}
    write(folder / 'pw.in', atoms, format='espresso-in', input_data=data, pseudopotentials=pseudopotentials, kpts=MESH)
    with (folder / 'pw.in').open() as stdin, (folder / 'pw.out').open('w') as stdout:
        subprocess.run(['pw.x'], stdin=stdin, stdout=stdout, cwd=folder, check=True, timeout=120)
    return read(folder / 'pw.out', format='espresso-out')


@pytest.mark.long
@needs_pw
def test_quantum_espresso_through_its_plugin_gives_the_results_of_a_direct_run(
    make_dataset, espresso, silicon, tmp_path
):
    found, labels = label(espresso(), [silicon], make_dataset(silicon))
    direct = run_directly(silicon, tmp_path)
    assert found.energy_kind == 'free_energy'
    assert found.energy_eV == pytest.approx(direct.get_potential_energy(), rel=RYDBERG)
    np.testing.assert_allclose(found.forces_eV_A, direct.get_forces(), atol=1e-4)
    np.testing.assert_allclose(found.stress_eV_A3, direct.get_stress(), atol=1e-5)
    # The crystal is compressed.
    assert found.stress_eV_A3[:3].max() < -0.02
    assert labels.level.parameters['version'].startswith(direct_version(tmp_path))


def direct_version(folder):
    text = (folder / 'pw.out').read_text()
    return text.partition('Program PWSCF v.')[2].split()[0]


@pytest.mark.long
@needs_pw
def test_a_structure_that_does_not_converge_is_a_failure_with_all_attempts(make_dataset, espresso, silicon):
    failure, _ = label(espresso(max_scf_steps=2), [silicon], make_dataset(silicon))
    assert failure.rule == 'not_converged'
    assert len(failure.attempts) > 1
    assert [one.change for one in failure.attempts] == ['', *['mixing'] * (len(failure.attempts) - 1)]
    assert not any(one.converged for one in failure.attempts)


@pytest.mark.long
@needs_pw
def test_an_isolated_atom_of_silicon_is_spin_polarised(make_dataset, espresso, silicon):
    settings, dataset = espresso(vacuum_A=2.5), make_dataset(silicon)
    outcome, labels = label(settings, [silicon], dataset, item='Si')
    assert outcome is None
    bulk_label, _ = label(settings, [silicon], dataset)
    # PBE gives a cohesive energy of 4.6 eV; the box of the test is small.
    assert 3.5 < labels.isolated_atom_energies_eV['Si'] - bulk_label.energy_eV / 2 < 6.0

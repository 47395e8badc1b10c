"""Labels by GPAW in jobs: agreement with direct calculations, and SCF cycles that do not converge."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from support.environments import environment_of

from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings, other_start, prepare
from aiida_mlip_autopipe.jobs.contract import JOB_FILE
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.labelling import LABELLING_VERSION, label_key
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE, LabellingJob
from aiida_mlip_autopipe.labelling.job import label_structures
from aiida_mlip_autopipe.labelling.labels_file import read_labels
from aiida_mlip_autopipe.structures.structures_file import structure_arrays

pytestmark = pytest.mark.skipif(find_spec('gpaw') is None, reason='GPAW is not installed')
COARSE = {'kind': 'gpaw', 'plane_wave_cutoff_eV': 200.0, 'kspacing_per_A': 1.2, 'scf_density': 1e-6, 'vacuum_A': 4.0}


def rattled_silicon():
    atoms = bulk('Si', a=5.46)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture
def label(tmp_path):
    """Return a function that labels structures in a job and returns its result and the labels."""

    def run(structures, variant='', **settings):
        calculator = COARSE | settings
        np.savez(tmp_path / STRUCTURES_FILE, **structure_arrays(structures))
        job = LabellingJob(
            environment=environment_of(calculator),
            labelling_version=LABELLING_VERSION,
            calculator=calculator,
            energy='free_energy',
            variant=variant,
        )
        (tmp_path / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json')))
        (tmp_path / LABELS_FILE).unlink(missing_ok=True)
        result = run_job(tmp_path / JOB_FILE, label_structures)
        found = read_labels(tmp_path / LABELS_FILE)
        return result, [found[label_key(atoms, '')] for atoms in structures]

    return run


def agrees_with_gpaw(atoms, label, **settings):
    """Compare a label with a direct calculation by GPAW with the same parameters."""
    from gpaw import GPAW

    computed, parameters = prepare(atoms, GPAWSettings(**COARSE | settings))
    computed.calc = GPAW(**parameters, txt=None)
    assert label.energy_eV == pytest.approx(computed.get_potential_energy(force_consistent=True), abs=1e-8)
    assert label.extrapolated_energy_eV == pytest.approx(computed.get_potential_energy(), abs=1e-8)
    assert label.forces_eV_A == pytest.approx(computed.get_forces(), abs=1e-6)
    if atoms.pbc.all():
        assert label.stress_eV_A3 == pytest.approx(computed.get_stress(), abs=1e-8)
    else:
        assert label.stress_eV_A3 is None
    if label.magnetic_moments_muB is not None:
        assert label.magnetic_moments_muB == pytest.approx(computed.get_magnetic_moments(), abs=1e-5)


@pytest.mark.long
def test_labels_of_a_metal_an_insulator_and_a_slab_are_those_of_gpaw(label):
    structures = [bulk('Al'), rattled_silicon(), fcc111('Al', (1, 1, 2), vacuum=4.0)]
    result, labels = label(structures)
    assert result.outcome == 'completed'
    for atoms, one in zip(structures, labels, strict=True):
        agrees_with_gpaw(atoms, one)
        assert [(attempt.change, attempt.converged) for attempt in one.attempts] == [('', True)]
        assert one.attempts[0].n_scf_steps > 1


@pytest.mark.long
def test_labels_of_a_spin_polarised_cell_are_those_of_gpaw(label):
    settings = {'spin_polarized': True, 'initial_magnetic_moments': {'Fe': 2.5}, 'scf_density': 1e-5}
    _, (iron,) = label([bulk('Fe')], **settings)
    agrees_with_gpaw(bulk('Fe'), iron, **settings)
    assert iron.magnetic_moments_muB[0] > 1.5


def test_a_structure_that_does_not_converge_is_computed_with_different_mixing_and_more_bands(label):
    lithium = Atoms('Li2', [[0, 0, 0], [0, 0, 2.9]], cell=[3, 3, 8], pbc=True)
    _, (fixed,) = label([lithium], smearing_eV=0.001, max_scf_steps=30)
    assert len(fixed.attempts) > 1
    assert [one.converged for one in fixed.attempts] == [False] * (len(fixed.attempts) - 1) + [True]
    assert [one.change for one in fixed.attempts][:2] == ['', 'mixing']
    assert fixed.attempts[0].n_scf_steps == 30


def test_a_structure_that_never_converges_has_a_failure_and_the_others_are_labelled(label):
    result, (failure, aluminium) = label([rattled_silicon(), bulk('Al')], max_scf_steps=10)
    assert (result.outcome, result.statistics) == ('completed', {'n_failed': 1})
    assert failure.rule == 'not_converged'
    attempts = [(one.change, one.converged, one.n_scf_steps) for one in failure.attempts]
    assert attempts == [(change, False, 10) for change in ('', 'mixing', 'bands', 'smearing')]
    assert aluminium.attempts[-1].converged


def test_a_repetition_with_different_mixing_gives_the_same_label(label):
    _, (first,) = label([bulk('Al')])
    _, (second,) = label([bulk('Al')], variant='mixing')
    assert second.attempts[0].change == 'mixing'
    assert second.energy_eV == pytest.approx(first.energy_eV, abs=1e-6)


@pytest.mark.parametrize(
    ('moments', 'expected'),
    [([2.0, 2.0], [2.0, -2.0]), ([2.0, -1.0], [2.0, 1.0]), ([0.0, 0.0], [1.0, 1.0]), ([3.0], [1.5])],
)
def test_another_start_begins_with_different_magnetic_moments(moments, expected):
    assert other_start(np.array(moments)).tolist() == expected

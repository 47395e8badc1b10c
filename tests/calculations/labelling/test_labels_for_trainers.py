"""Labels by GPAW reach the trainers: a labelling job, the labelled dataset, the exports, and the trainers' loaders."""

from importlib.util import find_spec

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from support.environments import environment_of
from support.rows import _make_provenance
from support.trainer_loaders import WITHOUT_MACE, read_with_mace, read_with_sevennet
from typer.testing import CliRunner

from aiida_mlip_autopipe.calculations.labelling.attach_labels import ATTACH_VERSION, attach_labels
from aiida_mlip_autopipe.calculations.labelling.decisions import result_settings
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings, prepare
from aiida_mlip_autopipe.cli.app import app
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.jobs.contract import JOB_FILE
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.labelling import LABELLERS, LABELLING_VERSION
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE, LabellingJob
from aiida_mlip_autopipe.labelling.job import label_structures
from aiida_mlip_autopipe.labelling.labels_file import read_labels
from aiida_mlip_autopipe.storage import export_dataset, make_row
from aiida_mlip_autopipe.storage.formats.export import convert_rows
from aiida_mlip_autopipe.structures.rows.provenance import SOFTWARE
from aiida_mlip_autopipe.structures.structures_file import structure_arrays

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec('gpaw') is None, reason='GPAW is not installed'),
    WITHOUT_MACE,
]

SETTINGS = {'plane_wave_cutoff_eV': 250.0, 'kspacing_per_A': 0.9, 'scf_density': 1e-6}
# GPAW's stress of carbon is wrong at this cutoff, so the label of diamond has none.
WITHOUT_STRESS = 2


def strained(atoms):
    """Return a copy without any symmetry, so that all components of the stress differ."""
    deformation = [[0.97, 0.01, 0.0], [0.0, 0.98, 0.02], [0.015, 0.0, 0.96]]
    atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
    atoms.rattle(0.08, seed=1)
    return atoms


def structures():
    return [strained(bulk(symbol)) for symbol in ('Si', 'Al', 'C')]


def results_of_gpaw(atoms):
    """Return the results of a direct calculation by GPAW."""
    from gpaw import GPAW

    computed, parameters = prepare(atoms, GPAWSettings(**SETTINGS))
    computed.calc = GPAW(**parameters, txt=None)
    return {
        'energy': computed.get_potential_energy(force_consistent=True),
        'forces': computed.get_forces(),
        'stress': computed.get_stress(),
    }


def label(folder, dataset):
    """Label the structures of a dataset in a job in this process, and return the labelled dataset."""
    labeller = LABELLERS.load('gpaw')
    settings = labeller.settings_class(isolated_atoms=False, **SETTINGS)
    calculator = labeller(settings).calculator_settings().model_dump(mode='json')
    environment = environment_of(calculator)
    level = labeller(settings).level(environment)
    job = LabellingJob(
        environment=environment,
        labelling_version=LABELLING_VERSION,
        calculator=calculator,
        energy=labeller(settings).energy,
        level_hash=level.hash,
    )
    atoms = [row.atoms for row in dataset.rows()]
    np.savez(folder / STRUCTURES_FILE, **structure_arrays(atoms))
    (folder / JOB_FILE).write_text(job.model_dump_json())
    assert run_job(folder / JOB_FILE, label_structures).outcome == 'completed'
    found = read_labels(folder / LABELS_FILE)
    about = {SOFTWARE: {'architecture': 'gpaw'}}
    numbers = [one.numbers for one in atoms]
    labels = LabelsData.from_outcomes(numbers, list(found), list(found.values()), level, LABELLING_VERSION, about=about)
    outputs = attach_labels(
        dataset=dataset,
        settings=result_settings(settings),
        level=orm.Dict(level.model_dump(mode='json')),
        failures=orm.Dict({'labels': {}, 'repeats': {}}),
        n_known=orm.Int(0),
        n_failed_before=orm.Int(0),
        stage_version=orm.Str(ATTACH_VERSION),
        labels={'labels_0000': labels.store()},
    )
    return outputs['dataset']


def test_the_loaders_of_mace_and_sevennet_see_the_labels_of_gpaw(aiida_profile, tmp_path):
    rows = []
    for number, atoms in enumerate(structures()):
        atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=0 * atoms.positions, stress=np.ones(6))
        provenance = _make_provenance(step=number, rank=number, architecture='lj')
        rows.append(make_row(atoms, provenance, {'kind': 'structures', 'parent': '12'}))
    export_dataset(tmp_path / 'explored.db', rows)
    labelled = label(tmp_path, DatasetData.from_file(tmp_path / 'explored.db').store()).rows()
    # The labels of the potential are the current ones of this file, so the exports must choose the others.
    convert_rows(tmp_path / 'current.db', labelled, labels='mlip')
    for name in ('dft.extxyz', 'dft.h5'):
        command = ['dataset', 'convert', tmp_path / 'current.db', '-o', tmp_path / name, '--labels', 'dft']
        done = CliRunner().invoke(app, [str(word) for word in command])
        assert done.exit_code == 0, done.output
    convert_rows(tmp_path / 'mlip.extxyz', labelled, labels='mlip')

    expected = [results_of_gpaw(atoms) for atoms in structures()]
    del expected[WITHOUT_STRESS]['stress']
    for results in expected[:WITHOUT_STRESS]:
        # A wrong sign or order of the components would be seen.
        assert np.ptp(np.sort(np.abs(results['stress']))) > 1e-3
    numbers = {int(number) for atoms in structures() for number in atoms.numbers}
    read = {
        'MACE, text': (read_with_mace(tmp_path / 'dft.extxyz', numbers), 1e-6),
        'MACE, HDF5': (read_with_mace(tmp_path / 'dft.h5', numbers), 1e-6),
        'SevenNet': (read_with_sevennet(tmp_path / 'dft.extxyz'), 1e-5),
    }
    for frames, atol in read.values():
        for labels, results in zip(frames, expected, strict=True):
            labels.assert_equal(results, rtol=1e-6, atol=atol)
    assert [labels.energy for labels in read_with_sevennet(tmp_path / 'mlip.extxyz')] == [1.0, 1.0, 1.0]

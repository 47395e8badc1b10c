"""Attaching labels to the rows of a dataset."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from support.rows import _make_provenance

from aiida_mlip_autopipe.calculations.labelling.attach_labels import ATTACH_VERSION, attach_labels
from aiida_mlip_autopipe.calculations.labelling.decisions import result_settings
from aiida_mlip_autopipe.campaigns.account import describe_labels
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.labelling import LABELLERS, Label, label_key
from aiida_mlip_autopipe.storage import export_dataset, make_row
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import SOFTWARE

STRESS_EV_A3 = np.array([0.01, 0.02, 0.03, 0.0, 0.0, 0.0])


def make_dataset(path, structures):
    rows = []
    for number, atoms in enumerate(structures):
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=0 * atoms.positions, stress=np.zeros(6))
        provenance = _make_provenance(step=number, rank=number, architecture='lj')
        rows.append(make_row(atoms, provenance, {'kind': 'structures', 'parent': '12'}))
    export_dataset(path, rows)
    return DatasetData.from_file(path)


def test_a_stress_with_too_few_plane_waves_is_not_attached(tmp_path):
    structures = [bulk('Si', a=5.43), bulk('MgO', 'rocksalt', a=4.21)]
    level = LevelOfTheory(method='dft', code='gpaw', name='dft:gpaw:pbe', parameters={'plane_wave_cutoff_eV': 500})
    labels = LabelsData.from_outcomes(
        [atoms.numbers for atoms in structures],
        [label_key(atoms, level.hash) for atoms in structures],
        [Label(-1.0, 'free_energy', 0 * atoms.positions, stress_eV_A3=STRESS_EV_A3) for atoms in structures],
        level,
        '1',
        isolated_atom_energies_eV={},
        about={SOFTWARE: {'architecture': 'gpaw'}},
    )
    outputs = attach_labels(
        dataset=make_dataset(tmp_path / 'two.db', structures),
        settings=result_settings(LABELLERS.load('gpaw').settings_class()),
        level=orm.Dict(level.model_dump(mode='json')),
        failures=orm.Dict({'labels': {}, 'repeats': {}}),
        n_known=orm.Int(0),
        n_failed_before=orm.Int(0),
        stage_version=orm.Str(ATTACH_VERSION),
        labels={'one': labels.store()},
    )
    silicon, oxide = outputs['dataset'].rows()
    assert silicon.labels['stress'].tolist() == STRESS_EV_A3.tolist()
    assert 'stress' not in oxide.labels
    assert oxide.labels['energy'] == -1.0
    report = outputs['report'].get_dict()
    assert report['n_stresses_left_out'] == describe_labels(report)['stresses left out'] == 1

"""A campaign explores in one image and labels in another, over SSH on Slurm."""

import numpy as np
import pytest
from support.cluster import IMAGES

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings
from aiida_mlip_autopipe.campaigns.export import read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.timeout(900)]

GPAW = {'plane_wave_cutoff_eV': 200.0, 'kspacing_per_A': 1.0, 'scf_density': 1e-5}
SECTIONS = {
    'generation': [
        {
            'kind': 'alloy',
            'composition': {'Al': 1.0},
            'supercell': [1, 1, 1],
            'n_seeds': 1,
            'perturb': {'rattle_A': 0.05},
            'validation': {'cell': 'as_given'},
        }
    ],
    'exploration': {'temperature_K': 300, 'n_steps': 20, 'frame_interval': 5},
    'sampling': {'kind': 'random', 'n_structures': 3},
}


def jobs_of(campaign, process):
    return [node for node in campaign.called_descendants if node.process_label == process]


def test_a_campaign_explores_in_one_image_and_labels_in_another(run_campaign, make_code):
    explorer = make_code('hpc', 'emt-image', IMAGES / 'base.sif')
    labeller = make_code('hpc', 'gpaw-image', IMAGES / 'gpaw.sif')
    labelling = {
        'kind': 'gpaw',
        **GPAW,
        'code': labeller.full_label,
        'resources': {'memory_MB': 2000},
        'structures_per_job': 2,
        'isolated_atoms': False,
    }
    campaign = run_campaign({'code': explorer.full_label}, seconds=600, **SECTIONS, labelling=labelling)
    assert campaign.is_finished_ok, campaign.exit_message
    assert {job.inputs.code.uuid for job in jobs_of(campaign, 'ExplorationCalculation')} == {explorer.uuid}
    labelled = jobs_of(campaign, 'LabellingCalculation')
    assert {job.inputs.code.uuid for job in labelled} == {labeller.uuid}
    assert len(labelled) == 2

    rows = read_rows(campaign)
    assert {row.level.name for row in rows} == {'dft:gpaw:pbe'}
    assert all(list(row.data['labels_before']) == ['mlip:emt'] for row in rows)
    direct = CALCULATORS.make(GPAWSettings(**GPAW)).load().calculator
    assert len(rows) == 3
    for row in rows:
        atoms = row.atoms.copy()
        atoms.calc = direct
        assert row.atoms.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(row.atoms.get_forces(), atoms.get_forces(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(row.atoms.get_stress(), atoms.get_stress(), rtol=0, atol=1e-6)

    # The same structures have labels now, so the GPAW image is not started again.
    again = run_campaign(
        {'code': explorer.full_label, 'reuse_finished': True}, **SECTIONS, labelling=labelling, name='again'
    )
    assert again.is_finished_ok, again.exit_message
    assert jobs_of(again, 'LabellingCalculation') == []
    assert len(read_rows(again)) == 3

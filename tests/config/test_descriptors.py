from ase.build import bulk
from support.errors import refused

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code

LEARNED = {'kind': 'fps', 'descriptor': {'kind': 'learned'}}


def config(folder, **sections):
    alloy = {'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}}
    return validate_config({'name': 'a', 'generation': [alloy], **sections}, folder)


def test_the_descriptor_can_be_learned(tmp_path):
    assert config(tmp_path, sampling=LEARNED).sampling.descriptor.kind == 'learned'


def test_learned_descriptors_of_a_calculator_without_them_are_refused_with_the_place(tmp_path):
    values = 'sampling.descriptor.kind: ', "'learned'", 'emt', 'mace, sevennet'
    with refused(Code.CALCULATOR_UNSUITABLE, *values):
        config(tmp_path, calculator={'kind': 'emt'}, sampling=LEARNED)


def test_a_reference_dataset_is_compatible_with_learned_descriptors(tmp_path):
    bulk('Cu').write(tmp_path / 'old.traj')
    assert (
        config(tmp_path, sampling={**LEARNED, 'reference_dataset': 'old.traj'}).sampling.reference_dataset
        == tmp_path / 'old.traj'
    )

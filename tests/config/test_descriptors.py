import re

import pytest
from ase.build import bulk

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.errors import ConfigError

LEARNED = {'kind': 'fps', 'descriptor': {'kind': 'learned'}}


def config(folder, **sections):
    alloy = {'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}}
    return validate_config({'name': 'a', 'generation': [alloy], **sections}, folder)


def test_what_a_calculator_has_learned_can_be_the_descriptor(tmp_path):
    assert config(tmp_path, sampling=LEARNED).sampling.descriptor.kind == 'learned'


def test_a_calculator_that_has_learned_nothing_is_refused_with_the_place(tmp_path):
    sentence = "sampling.descriptor.kind: got 'learned'; the calculator emt has none; there are those of mace, sevennet"
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        config(tmp_path, calculator={'kind': 'emt'}, sampling=LEARNED)


def test_structures_given_are_described_by_the_calculator_too(tmp_path):
    bulk('Cu').write(tmp_path / 'old.traj')
    assert config(tmp_path, sampling={**LEARNED, 'given': 'old.traj'}).sampling.given == tmp_path / 'old.traj'

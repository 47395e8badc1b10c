"""A committee: its members, what it inherits from them, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.emt import EMT
from pydantic import ValidationError
from support.committees import COPPER, LJ

from aiida_mlip_autopipe.calculators.kinds.committee import CommitteeLoader, CommitteeSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.jobs.environment import environment_key


def test_a_committee_has_the_results_of_its_first_member_and_the_largest_cutoff(alloy):
    settings = CommitteeSettings.model_validate(COPPER)
    loader = CommitteeLoader(settings)
    calculator = loader.load().calculator
    assert settings.cutoff_A == 6.6
    assert loader.known_elements is not None
    assert 'Cu' in loader.known_elements
    assert len(calculator.members) == 2
    expected = alloy.copy()
    alloy.calc, expected.calc = calculator, EMT()
    assert alloy.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(alloy.get_forces(), expected.get_forces(), atol=1e-9)


def test_a_committee_is_on_a_gpu_if_any_member_is(monkeypatch):
    loader = CommitteeLoader(CommitteeSettings.model_validate(COPPER))
    assert loader.load().device == 'cpu'
    on_gpu = replace(loader.members[1].load(), device='cuda')
    monkeypatch.setattr(loader.members[1], 'load', lambda: on_gpu)
    assert loader.load().device == 'cuda'


@pytest.mark.parametrize(
    ('members', 'code'),
    [
        ([{'kind': 'emt'}, LJ, {'kind': 'emt'}], Code.VALUE_INVALID),
        ([{'kind': 'emt', 'device': 'cpu'}, LJ], Code.VALUES_EXCLUDE),
    ],
)
def test_members_that_are_equal_or_have_their_own_device_are_refused(members, code):
    with pytest.raises(ValidationError) as caught:
        CommitteeSettings.model_validate({'members': members})
    assert [error['ctx']['code'] for error in caught.value.errors()] == [code]


def test_two_files_with_the_same_content_are_the_same_model(tmp_path):
    members = []
    for name, content in (('a', b'weights'), ('b', b'weights'), ('c', b'others')):
        (tmp_path / name).write_bytes(content)
        members.append({'kind': 'mace', 'model': str(tmp_path / name)})
    for second in (members[1], {'kind': 'mace', 'model': '/no/such/file', 'model_sha256': file_sha256(tmp_path / 'a')}):
        with pytest.raises(ValidationError) as caught:
            CommitteeSettings.model_validate({'members': [members[0], second]})
        assert [error['ctx']['code'] for error in caught.value.errors()] == [Code.VALUE_INVALID]
    settings = CommitteeSettings.model_validate({'members': [members[0], members[2]]})
    assert [member.model_sha256 for member in settings.members] == [None, None]


def test_the_environment_of_a_committee_depends_on_its_members():
    keys = {environment_key({'kind': 'committee', 'members': members}) for members in ([{'kind': 'emt'}], [LJ], [])}
    assert len(keys) == 3

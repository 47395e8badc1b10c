"""Frames are compared bit for bit, and recorded differences are named."""

import numpy as np
import pytest
from support.environments import environment_of

from aiida_mlip_autopipe.campaigns.provenance.comparison import (
    Comparison,
    compare_frames,
    find_differences,
    find_missing,
    judge,
)
from aiida_mlip_autopipe.jobs.contract import Result, Versions

FRAME = {'positions': np.array([[0.0, 0.5, 1.0]]), 'energy': np.array(-1.0), 'stress': np.zeros(6)}


def test_the_last_bit_and_the_sign_of_zero_are_compared():
    assert compare_frames(FRAME, {**FRAME}, 'row') == []
    (found,) = compare_frames(FRAME, FRAME | {'energy': np.nextafter(-1.0, 0)}, 'row')
    assert (found.quantity, found.unit, found.largest) == ('energy', 'eV', 2.0**-53)
    (found,) = compare_frames(FRAME, FRAME | {'stress': -FRAME['stress']}, 'row')
    assert (found.quantity, found.largest) == ('stress', 0.0)
    (found,) = compare_frames(FRAME, FRAME | {'positions': np.zeros((2, 3))}, 'graph')
    assert (found.quantity, found.largest, found.compared_with) == ('positions', None, 'graph')
    without_stress = {name: FRAME[name] for name in ('positions', 'energy')}
    assert compare_frames(without_stress, FRAME, 'row') == []
    (found,) = compare_frames(FRAME, without_stress, 'row')
    assert (found.quantity, found.is_missing) == ('stress', True)


def test_a_run_without_the_frame_differs_even_if_no_quantity_can_be_compared():
    assert judge({}, FRAME, FRAME, message='no frame') == Comparison('differs', message='no frame')
    assert judge(FRAME, FRAME, FRAME, ('numpy 1 -> 2',)).outcome == 'identical'


@pytest.mark.parametrize(
    ('comparison', 'parts'),
    [
        (Comparison('identical'), ['identical']),
        (Comparison('identical', differences=('numpy 1 -> 2',)), ['identical', 'numpy 1 -> 2']),
        (Comparison('not_run', message='no model'), ['cannot be run: no model']),
        (judge(FRAME | {'energy': np.array(0.0)}, FRAME, FRAME, ()), ['for no known reason', 'energy by 1 eV']),
        (judge(FRAME | {'energy': np.array(0.0)}, FRAME, FRAME, ('numpy 1 -> 2',)), ['energy by 1 eV', 'numpy 1 -> 2']),
        (
            judge(FRAME | {'energy': np.array(0.0)}, FRAME, FRAME, not_recorded=('python', 'processor')),
            ['for no known reason', 'energy by 1 eV', 'not recorded', 'python, processor'],
        ),
    ],
)
def test_the_outcome_is_one_sentence(comparison, parts):
    assert all(part in comparison.describe() for part in parts)


def test_an_unknown_reason_is_not_stated_if_something_was_altered():
    changed = FRAME | {'energy': np.array(0.0), 'positions': np.zeros((2, 3))}
    text = judge(changed, FRAME, FRAME, not_recorded=('processor',)).describe(is_altered=True)
    assert 'energy by 1 eV' in text
    assert 'positions' in text
    assert 'reason' not in text
    assert 'processor' not in text


def test_the_versions_hashes_and_settings_that_differ_are_named():
    environment = environment_of()
    versions = Versions(package='1', python='3.11', ase='3')
    found = Result(outcome='completed', environment=environment, versions=versions, processor='new', model_sha256='a')
    recorded = found.model_dump(mode='json')
    assert find_differences(environment, recorded, None, found) == []
    assert find_missing(recorded) == []
    expected = environment.model_copy(update={'numpy': '0', 'sources': {'mine': 'b'}, 'threads': 9})
    recorded |= {'versions': recorded['versions'] | {'python': '3.9'}, 'processor': 'old', 'model_sha256': 'c'}
    names = [text.split()[0] for text in find_differences(expected, recorded, 'image', found)]
    assert names == ['numpy', 'threads', 'source', 'python', 'model', 'image', 'processor']


def test_what_an_earlier_version_did_not_record_is_named_but_does_not_count_as_a_difference():
    content = {'outcome': 'completed', 'contract_version': 6}
    earlier = Result.model_validate(content)
    assert earlier.processor is None
    environment = environment_of()
    versions = Versions(package='1', python='3.11', ase='3')
    found = Result(outcome='completed', environment=environment, versions=versions, processor='new')
    assert find_differences(environment, content, None, found) == []
    assert find_missing(content) == ['package', 'python', 'processor']

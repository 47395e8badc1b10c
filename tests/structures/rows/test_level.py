import json
from datetime import date

import pytest
from pydantic import ValidationError

from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference


def level(name='mlip:mace:a.model', method='mlip', code='mace', **parameters):
    return LevelOfTheory(method=method, code=code, name=name, parameters=parameters)


def test_the_hash_depends_on_everything_but_the_name_the_order_and_missing_values():
    known = level(precision='float32', dispersion=False)
    assert known.hash.startswith('level-')
    assert len(known.hash) == len('level-') + 16
    assert known.hash == level('other', dispersion=False, precision='float32', head=None).hash
    others = [level(precision='float32', dispersion=True), level(precision='float32'), level(code='lj')]
    assert len({known.hash, *(one.hash for one in others)}) == 4


def test_whole_numbers_are_the_same_as_integers():
    assert level(cutoff_eV=520).hash == level(cutoff_eV=520.0).hash
    assert level(u={'Fe': 4.0}).hash == level(u={'Fe': 4}).hash
    assert level(cutoff_eV=520.5).hash != level(cutoff_eV=520).hash
    # AiiDA stores 14 digits.
    assert level(u=3.75**3 / 7).hash == level(u=float(f'{3.75**3 / 7:.14g}')).hash


def test_the_differences_name_the_fields_with_both_values():
    first = level(dispersion=False, model_sha256='a' * 64, u={'Fe': 4.0, 'Ni': 5})
    second = level(dispersion=True, model_sha256='b' * 64, u={'Fe': 3.5, 'Ni': 5}, head='pbe')
    assert set(first.differences(second)) == {
        'dispersion: false and true',
        'model_sha256: aaaaaaaaaaaa… and bbbbbbbbbbbb…',
        'u.Fe: 4 and 3.5',
        'head: none and pbe',
    }
    assert first.differences(first) == ()
    assert level(code='lj').differences(level()) == ('code: lj and mace',)
    assert 'dispersion: false and true' in describe_difference(first, second)


def test_a_level_without_a_name_or_with_an_unknown_method_is_refused():
    for fields in ({'name': ''}, {'method': 'guess'}):
        with pytest.raises(ValidationError):
            level(**fields)


def test_true_is_not_one_and_an_empty_mapping_is_shown():
    assert level(spin=True).differences(level(spin=1)) == ('spin: true and 1',)
    assert level(potentials={}).differences(level()) == ('potentials: {} and none',)
    assert len(level(a={'b': 1}).differences(level(**{'a.b': 1}))) == 2


@pytest.mark.parametrize('value', [float('inf'), float('nan'), date(2024, 1, 2), [float('-inf')]])
def test_values_that_json_does_not_support_become_text(value):
    one = level(x=value)
    assert one.hash == type(one).model_validate(one.model_dump()).hash != level().hash
    json.dumps(one.model_dump(), allow_nan=False)

import pytest
from ase.db.core import str_represents
from pydantic import ValidationError

from aiida_mlip_autopipe.structures.rows.provenance import Provenance, searchable


@pytest.mark.parametrize(
    ('fields', 'expected'),
    [
        ({'architecture': 'emt'}, 'mlip:emt'),
        ({'architecture': 'sevennet', 'model': '7net-0'}, 'mlip:sevennet:7net-0'),
        ({'label_source': 'dft:vasp:pbe'}, 'dft:vasp:pbe'),
    ],
)
def test_the_label_source_is_the_model_by_default(make_provenance, fields, expected):
    assert make_provenance(**fields).label_source == expected


def test_identifiers_that_look_like_numbers_get_a_prefix(make_provenance):
    pairs = make_provenance(seed_id='12e4567890123456', model_sha256='9' * 64).key_value_pairs()
    assert pairs['seed'] == 'seed-12e4567890123456'
    assert pairs['model_sha256'] == 'sha256:' + '9' * 64
    assert make_provenance(source_sha256='9' * 64).key_value_pairs()['source_sha256'] == 'sha256:' + '9' * 64


def test_fields_without_a_value_are_omitted(make_provenance):
    assert {'model', 'model_sha256', 'distance', 'target_temperature_K'}.isdisjoint(make_provenance().key_value_pairs())


@pytest.mark.parametrize('text', ['2026', '1e5', 'nan', 'inf', 'True', '-3.5'])
def test_text_that_reads_as_a_number_or_a_boolean_gets_an_underscore(text):
    assert searchable(text) == f'_{text}'


@pytest.mark.parametrize('text', ['cu_au', '0.1.0', 'true', 'mlip:emt'])
def test_other_text_is_not_changed(text):
    assert searchable(text) == text


@pytest.mark.parametrize(
    'text', ['2026', '1e5', '1_000', ' 7 ', '٣', 'nan', '-inf', 'True', 'False', 'true', '', '0x10', '1.2.3', '9' * 400]
)
def test_text_is_changed_exactly_if_ase_would_refuse_it(text):
    is_refused = any(str_represents(text, target) for target in (bool, int, float))
    assert (searchable(text) != text) is is_refused


@pytest.mark.parametrize(
    'fields',
    [{'label_source': 'guess'}, {'step': -1}, {'rank': -1}, {'distance': float('nan')}, {'seed': 'x'}],
)
def test_invalid_provenance_is_refused(make_provenance, fields):
    with pytest.raises(ValidationError):
        make_provenance(**fields)


def test_provenance_of_an_earlier_version_has_one_block_of_software(make_provenance):
    old = make_provenance(model='7net-0', architecture='sevennet', precision='float32').model_dump()
    flat = old | old['explored']
    del flat['explored'], flat['labelled'], flat['label_source']
    assert Provenance.model_validate(flat).model_dump() == old
    dft = Provenance.model_validate(flat | {'label_source': 'dft:vasp:pbe'})
    assert (dft.explored.model, dft.labelled.model, dft.labelled.architecture) == ('7net-0', None, 'vasp')
    assert dft.key_value_pairs()['architecture'] == 'vasp'
    assert 'precision' not in dft.key_value_pairs()

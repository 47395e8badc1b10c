import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.reporting.checksum import content_checksum
from aiida_mlip_autopipe.reporting.publication import check_publication

COMPLETE = {
    'title': 'CuAu',
    'description': 'Frames from molecular dynamics.',
    'authors': [{'name': 'Curie, Marie', 'orcid': '0000-0002-1825-0097', 'affiliation': 'Sorbonne'}],
    'licence': 'CC-BY-4.0',
    'version': '1.0.0',
    'links': ['https://example.org'],
    'keywords': ['copper'],
}


def names(check):
    return [field.name for field in check.missing]


def test_without_metadata_all_fields_are_missing_each_with_an_example(make_rows):
    check = check_publication(make_rows(1), {}, 'meta.yaml')
    assert names(check) == ['title', 'description', 'authors', 'licence', 'version', 'links']
    assert all(field.example.startswith(f'{field.name}: ') for field in check.missing)
    assert not check.is_complete


@pytest.mark.parametrize('name', ['title', 'description', 'authors', 'licence', 'version', 'links'])
def test_each_missing_required_field_is_reported(make_rows, name):
    fields = {key: value for key, value in COMPLETE.items() if key != name}
    assert names(check_publication(make_rows(1), fields, 'meta.yaml')) == [name]


def test_complete_metadata_contain_the_fields_of_datacite_and_of_the_rows(make_rows):
    rows = make_rows(2, calculator_version='3.29', ase_version='3.29')
    check = check_publication(rows, COMPLETE, 'meta.yaml')
    assert check.is_complete
    found = check.metadata
    assert found['checksum'] == content_checksum(rows)
    assert (found['n_structures'], found['elements']) == (2, ['Au', 'Cu'])
    assert [(level['name'], level['hash']) for level in found['levels_of_theory']] == [('mlip:emt', rows[0].level_hash)]
    assert {'name': 'aiida-mlip-autopipe', 'version': '0.1.0'} in found['software']
    assert found['properties'] == ['energy', 'atomic forces', 'stress']
    (creator,) = found['datacite']['creators']
    assert creator['name'] == 'Curie, Marie'
    assert creator['nameIdentifiers'][0]['nameIdentifier'] == '0000-0002-1825-0097'
    assert found['datacite']['rightsList'][0]['rightsIdentifier'] == 'CC-BY-4.0'
    assert found['datacite']['version'] == '1.0.0'


def test_dft_labels_need_the_functional_and_the_version_of_the_code(make_rows):
    rows = make_rows(1, label_source='dft:vasp:pbe')
    assert names(check_publication(rows, COMPLETE, 'meta.yaml')) == ['functional', 'software']
    extra = {'functional': 'PBE', 'software': [{'name': 'VASP', 'version': '6.4.2'}]}
    check = check_publication(rows, COMPLETE | extra, 'meta.yaml')
    assert check.is_complete
    assert check.metadata['functional'] == 'PBE'
    assert {'name': 'VASP', 'version': '6.4.2'} in check.metadata['software']


def test_several_levels_of_theory_are_a_problem(make_rows):
    rows = [*make_rows(1), *make_rows(1, label_source='dft:vasp:pbe')]
    fields = COMPLETE | {'functional': 'PBE', 'software': [{'name': 'VASP', 'version': '6.4.2'}]}
    check = check_publication(rows, fields, 'meta.yaml')
    assert not check.missing
    assert len(check.problems) == 1
    assert 'dft:vasp:pbe' in check.problems[0]
    assert not check.is_complete


@pytest.mark.parametrize(
    ('fields', 'code', 'place'),
    [
        ({'license': 'MIT'}, Code.KEY_UNKNOWN, 'meta.yaml: license'),
        ({'licence': 'free to use'}, Code.CHOICE_UNKNOWN, 'meta.yaml: licence'),
        ({'licence': 'CC-BY-5.0'}, Code.CHOICE_UNKNOWN, 'meta.yaml: licence'),
        ({'licence': ''}, Code.CHOICE_UNKNOWN, 'meta.yaml: licence'),
        (
            {'authors': [{'name': 'A', 'orcid': '0000-0002-1825-0098'}]},
            Code.VALUE_INVALID,
            'meta.yaml: authors[0].orcid',
        ),
        ({'doi': 'https://doi.org/10.1000/1'}, Code.WRONG_PATTERN, 'meta.yaml: doi'),
        ({'authors': [{'name': 'A', 'orcid': '1'}]}, Code.WRONG_PATTERN, 'meta.yaml: authors[0].orcid'),
        ({'author': []}, Code.KEY_UNKNOWN, "'authors'"),
        ({'version': 1.0}, Code.TYPE_WRONG, 'meta.yaml: version: got 1.0'),
    ],
)
def test_invalid_fields_are_refused_with_their_place(make_rows, fields, code, place):
    with refused(code, place):
        check_publication(make_rows(1), fields, 'meta.yaml')


@pytest.mark.parametrize(
    ('licence', 'expected'),
    [('cc-by-4.0', 'CC-BY-4.0'), ('CC0-1.0', 'CC0-1.0'), ('LicenseRef-group', 'LicenseRef-group')],
)
def test_a_licence_has_the_spelling_of_spdx(make_rows, licence, expected):
    check = check_publication(make_rows(1), COMPLETE | {'licence': licence}, 'meta.yaml')
    assert check.metadata['licence'] == expected


@pytest.mark.parametrize('orcid', ['0000-0002-1825-0097', '0000-0002-9079-593X', '0000-0003-1415-9269'])
def test_orcid_ids_with_a_correct_check_digit_are_accepted(make_rows, orcid):
    fields = COMPLETE | {'authors': [{'name': 'Curie, Marie', 'orcid': orcid}]}
    assert check_publication(make_rows(1), fields, 'meta.yaml').is_complete

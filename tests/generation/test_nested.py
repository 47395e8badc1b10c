from __future__ import annotations

import pytest
from pydantic import TypeAdapter
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation import GENERATORS

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}


@pytest.mark.parametrize(
    ('of', 'place', 'code', 'value'),
    [
        ({'kind': 'aloy'}, ('of',), Code.KIND_UNKNOWN, 'adsorption, alloy'),
        ({'composition': {'Cu': 1.0}}, ('of',), Code.KIND_MISSING, 'adsorption, alloy'),
        (
            {'kind': 'alloy', 'composition': {'Cx': 1.0}},
            ('of', 'composition', 'Cx', '[key]'),
            Code.ELEMENT_UNKNOWN,
            "'Cx'",
        ),
        ({**COPPER, 'n_seeds': 3}, ('of',), Code.KEY_UNKNOWN, 'n_seeds'),
        ({**COPPER, 'perturb': {'rattle_A': 0.1}}, ('of',), Code.KEY_UNKNOWN, 'perturb'),
        (3, ('of',), Code.TYPE_WRONG, 'kind'),
        ({'kind': 'atom', 'symbols': ['Cu']}, ('of',), Code.HOST_UNSUITABLE, 'kind atom'),
        ({'kind': 'dimer', 'symbols': ['Cu']}, ('of',), Code.HOST_UNSUITABLE, 'kind dimer'),
    ],
)
def test_an_error_in_the_inner_entry_is_reported_at_its_location(make_entries, of, place, code, value):
    with refused(code, value) as caught:
        make_entries({'kind': 'surface', 'of': of})
    assert caught.value.errors()[0]['loc'] == (0, 'surface', *place)


def test_a_dumped_entry_is_read_back_unchanged(make_entries):
    entries = make_entries({'kind': 'surface', 'of': {**COPPER, 'lattice': 'bcc'}, 'n_seeds': 2})
    dumped = [entry.model_dump(mode='json') for entry in entries]
    assert make_entries(*dumped) == entries


def test_the_inner_entry_determines_the_random_streams(make_entries):
    first, second = make_entries(
        {'kind': 'surface', 'of': COPPER}, {'kind': 'surface', 'of': {**COPPER, 'lattice': 'bcc'}}
    )
    assert first.stream_content() != second.stream_content()


def test_the_schema_of_nested_kinds_is_finite():
    schema = TypeAdapter(GENERATORS.settings_union()).json_schema()
    assert schema['$defs']['SurfaceSettings']['properties']['of']['required'] == ['kind']


COPPER_SLAB = {'kind': 'surface', 'of': {'kind': 'alloy', 'composition': {'Cu': 1.0}}, 'miller_indices': [[1, 1, 1]]}


@pytest.mark.parametrize(
    ('entry', 'form'),
    [
        (COPPER_SLAB, 'slab'),
        ({'kind': 'defect', 'of': {**COPPER_SLAB, 'vacuum_A': 8}, 'vacancies': {'Cu': 1}, 'n_seeds': 1}, 'slab'),
        ({'kind': 'adsorption', 'of': COPPER_SLAB, 'molecules': ['O'], 'n_seeds': 1}, 'slab'),
        ({'kind': 'covalent', 'structure': 'graphene', 'sites': {'A': 'C'}}, 'slab'),
        ({'kind': 'covalent', 'structure': 'graphite', 'sites': {'A': 'C'}}, None),
        ({'kind': 'defect', 'of': COPPER_SLAB['of'], 'vacancies': {'Cu': 1}, 'n_seeds': 1}, None),
    ],
)
def test_the_record_of_a_structure_in_vacuum_contains_its_form(generate, entry, form):
    seeds = generate(entry, cutoff_A=2.0).seeds
    assert {seed.record.get('form') for seed in seeds} == {form}

"""Queries to databases, answered by local servers."""

from __future__ import annotations

import socket
import sys

import pytest
from ase.io import read
from support.errors import refused
from support.materials_project_server import serve as serve_materials_project
from support.optimade_server import serve, structure

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation import answer_queries, generate_seeds

FILTER = 'nelements=2 AND elements HAS "Cu" AND note="a&b"'
ANSWERS = {
    FILTER: [structure('b-2', ['Cu', 'Au']), structure('007', ['Ag', 'Cu'], a_A=4.1), structure('a-1', ['Cu', 'Ni'])],
    'elements HAS ALL "Au", "Cu" AND nelements=2': [structure('x:1', ['Cu', 'Au'])],
    'chemical_formula_reduced="AuCu3"': [structure('y 2', ['Au', 'Cu', 'Cu', 'Cu'], a_A=6.0)],
    'swapped': [structure('s', ['Cu', 'Au'], species=['Au', 'Cu'])],
    'half': [structure('h', ['Cu', 'Au'], concentration=0.5), structure('v', ['Cu', 'vacancy'])],
    'some': [structure('h', ['Cu', 'Au'], concentration=0.5), structure('ordered', ['Cu', 'Au'])],
    'none': [],
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Store answers in the folder of the test, and connect to this machine without a proxy."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    return tmp_path / 'cache'


@pytest.fixture
def database():
    with serve(ANSWERS) as address:
        yield address


@pytest.fixture
def closed():
    """The address of a server that does not exist."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return f'http://127.0.0.1:{free.getsockname()[1]}/db'


@pytest.fixture
def ask(make_entries):
    """Send a query, and return the seeds made from its answer."""

    def run(provider, perturb=None, **question):
        query = {'provider': provider, **question}
        entries = make_entries({'kind': 'structures', 'query': query, 'perturb': perturb or {}})
        return generate_seeds(answer_queries(entries), random_seed=7, cutoff_A=0.0).seeds

    return run


def test_structures_of_all_pages_become_seeds_in_the_order_of_their_ids(ask, database, cache):
    seeds = ask(database, filter=FILTER)
    assert [(seed.record['database_id'], str(seed.atoms.symbols)) for seed in seeds] == [
        ('007', 'AgCu'),
        ('a-1', 'CuNi'),
        ('b-2', 'CuAu'),
    ]
    assert all(seed.record['query'] == {'provider': database, 'filter': FILTER} for seed in seeds)
    assert all(seed.atoms.pbc.all() and not seed.atoms.info for seed in seeds)
    assert seeds[0].atoms.cell.lengths() == pytest.approx([4.1] * 3)
    assert seeds[0].atoms.positions[1] == pytest.approx([2.05] * 3)
    (stored,) = cache.rglob('*.extxyz')
    assert seeds[0].record['file_sha256'].startswith(stored.stem)


def test_the_order_of_an_answer_does_not_change_the_seeds(ask, database, monkeypatch):
    rattled = {'rattle_A': 0.05, 'n_variants': 2}
    first = [seed.seed_id for seed in ask(database, rattled, filter=FILTER)]
    assert len(set(first)) == 6
    monkeypatch.setitem(ANSWERS, FILTER, ANSWERS[FILTER][::-1])
    assert [seed.seed_id for seed in ask(database, rattled, filter=FILTER, max_structures=3)] == first


def test_a_query_selects_exact_elements_or_the_reduced_formula(ask, database):
    assert [seed.record['database_id'] for seed in ask(database, elements=['Cu', 'Au'])] == ['x:1']
    (seed,) = ask(database.rstrip('/'), formula='Cu6Au2')
    assert (seed.record['database_id'], str(seed.atoms.symbols)) == ('y 2', 'AuCu3')


def test_sites_get_the_correct_species_in_any_order_of_the_species(ask, database):
    (seed,) = ask(database, filter='swapped')
    assert seed.atoms.get_chemical_symbols() == ['Cu', 'Au']
    assert seed.atoms.positions[0] == pytest.approx([0, 0, 0])


def test_a_structure_with_partial_occupancy_is_discarded(ask, database):
    assert [seed.record['database_id'] for seed in ask(database, filter='some')] == ['ordered']


def test_a_stored_answer_is_not_requested_again(ask, make_entries, database, closed, cache):
    answered = ask(database, {'rattle_A': 0.05}, elements=['Au', 'Cu'])
    (stored,) = cache.rglob('*.extxyz')
    query = {'provider': closed, 'elements': ['Au', 'Cu']}
    entry = {'kind': 'structures', 'query': query, 'files': [str(stored)], 'perturb': {'rattle_A': 0.05}}
    (seed,) = generate_seeds(answer_queries(make_entries(entry)), random_seed=7, cutoff_A=0.0).seeds
    assert (seed.atoms.positions == answered[0].atoms.positions).all()
    assert seed.record['database_id'] == 'x:1'


def test_a_query_with_files_that_are_not_its_answer_is_refused(make_entries, tmp_path, generate):
    from ase.build import bulk
    from ase.io import write

    write(tmp_path / 'own.xyz', bulk('Cu'), format='extxyz')
    entry = {'kind': 'structures', 'query': {'elements': ['Cu']}, 'files': [str(tmp_path / 'own.xyz')]}
    with refused(Code.VALUES_EXCLUDE, 'own.xyz', 'files', 'query'):
        generate(entry)


def test_a_query_in_an_inner_entry_is_sent(make_entries, database):
    query = {'kind': 'structures', 'query': {'provider': database, 'elements': ['Au', 'Cu']}}
    entries = answer_queries(make_entries({'kind': 'defect', 'of': query, 'vacancies': {'Cu': 1}}))
    assert read(entries[0].of.files[0]).get_chemical_formula() == 'AuCu'


def test_an_unanswered_query_is_refused(generate):
    with refused(Code.QUERY_UNANSWERED):
        generate({'kind': 'structures', 'query': {'elements': ['Cu']}})


@pytest.mark.parametrize(
    ('question', 'code', 'values'),
    [
        ({'filter': 'nonsense'}, Code.QUERY_REFUSED, ['400: Unable to parse filter']),
        ({'filter': 'none'}, Code.QUERY_EMPTY, []),
        ({'filter': 'half'}, Code.QUERY_EMPTY, ['(2 ']),
        ({'filter': FILTER, 'max_structures': 2}, Code.QUERY_TOO_BROAD, [' 3 ', 'max_structures=2']),
    ],
)
def test_an_answer_that_cannot_be_used_is_reported_in_one_line(ask, database, cache, question, code, values, capfd):
    with refused(code, database, *values) as caught:
        ask(database, **question)
    assert '\n' not in str(caught.value)
    assert not cache.exists()
    assert capfd.readouterr() == ('', '')


def test_an_unreachable_server_is_reported(ask, closed, cache):
    with refused(Code.DATABASE_UNREACHABLE, closed, 'ConnectionError'):
        ask(closed, elements=['Cu'])
    assert not cache.exists()


@pytest.mark.parametrize(
    ('broken', 'value'),
    [
        ((502, b'<html>Bad Gateway</html>'), '502'),
        ((200, b'[]'), 'OPTIMADE'),
        ((200, b'{"meta": {}, "data": {}}'), 'OPTIMADE'),
        ((200, b'{"meta": {}, "data": [1]}'), 'OPTIMADE'),
    ],
)
def test_a_server_that_does_not_follow_optimade_is_reported(ask, broken, value):
    with serve({}, broken=broken) as address, refused(Code.DATABASE_UNREACHABLE, address, value):
        ask(address, elements=['Cu'])


def test_the_nearest_name_is_suggested_for_an_unknown_database(ask):
    with refused(Code.CHOICE_UNKNOWN, "'oqdm'", "'oqmd'"):
        ask('oqdm', elements=['Cu'])


def test_the_materials_project_is_queried_through_its_client(ask, monkeypatch):
    from mp_api import client
    from pymatgen.core import Lattice, Structure

    copper = Structure(Lattice.cubic(3.0), ['Cu'], [[0, 0, 0]]).as_dict()
    larger = Structure(Lattice.cubic(3.1), ['Cu'], [[0, 0, 0]]).as_dict()
    entries = [{'material_id': 'mp-30', 'structure': larger}, {'material_id': 'mp-1', 'structure': copper}]
    paths: list[str] = []
    monkeypatch.setenv('MP_API_KEY', 'k' * 32)
    with serve_materials_project(entries, paths) as address:
        monkeypatch.setattr(client.core.settings.MAPI_CLIENT_SETTINGS, 'ENDPOINT', address)
        seeds = ask('materials_project', formula='Cu2')
        with refused(Code.QUERY_TOO_BROAD, 'max_structures=1'):
            ask('materials_project', elements=['Cu'], max_structures=1)
    assert [seed.record['database_id'] for seed in seeds] == ['mp-1', 'mp-30']
    assert seeds[0].record['query'] == {'provider': 'materials_project', 'formula': 'Cu2'}
    assert [path.partition('&')[0] for path in paths if 'summary' in path] == [
        '/materials/summary/?formula=Cu1',
        '/materials/summary/?chemsys=Cu',
    ]


def test_a_query_to_the_materials_project_needs_a_key(ask, monkeypatch):
    monkeypatch.delenv('MP_API_KEY', raising=False)
    monkeypatch.setattr('pymatgen.core.SETTINGS', {})
    with refused(Code.API_KEY_MISSING, 'MP_API_KEY', 'materialsproject.org', 'provider: mp'):
        ask('materials_project', elements=['Cu'])


def test_an_unreachable_materials_project_is_reported(ask, monkeypatch, closed):
    from mp_api import client

    monkeypatch.setenv('MP_API_KEY', 'k' * 32)
    monkeypatch.setattr(client.core.settings.MAPI_CLIENT_SETTINGS, 'ENDPOINT', closed)
    with refused(Code.DATABASE_UNREACHABLE, 'materials_project', 'ConnectionError'):
        ask('materials_project', elements=['Cu'])


def test_a_query_to_the_materials_project_needs_its_client(ask, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mp_api', None)
    monkeypatch.setitem(sys.modules, 'mp_api.client', None)
    with refused(Code.PACKAGE_MISSING, 'aiida-mlip-autopipe[materials-project]', 'provider: mp'):
        ask('materials_project', elements=['Cu'])


@pytest.mark.parametrize(
    ('entry', 'code', 'values'),
    [
        ({}, Code.VALUES_INCOMPLETE, ['files', 'query']),
        ({'query': {}}, Code.VALUES_INCOMPLETE, ['query', 'elements', 'formula', 'filter']),
        ({'query': {'elements': ['Cu'], 'formula': 'Cu'}}, Code.VALUES_EXCLUDE, ['query', 'elements', 'formula']),
        ({'query': {'formula': 'Cu2Oops'}}, Code.FORMULA_INVALID, ['query.formula', "'Cu2Oops'"]),
        ({'query': {'elements': ['Cuu']}}, Code.ELEMENT_UNKNOWN, ['query.elements', "'Cuu'"]),
        ({'query': {'provider': 'materials_project', 'filter': 'nelements=2'}}, Code.VALUES_EXCLUDE,
         ['query', 'materials_project', 'filter', 'provider: mp']),
    ],
)  # fmt: skip
def test_an_invalid_query_is_refused_before_it_is_sent(make_entries, entry, code, values):
    with refused(code, *values):
        make_entries({'kind': 'structures', **entry})

import os
import subprocess

import pytest
from ase.io import read
from support.errors import assert_refused
from support.optimade_server import serve, structure

from aiida_mlip_autopipe.core.codes import Code

CONFIG = """\
name: queried
generation:
  - {{kind: structures, query: {{provider: {provider}, {question}}}}}
calculator: {{kind: emt}}
"""
COPPER = 'elements HAS ALL "Cu" AND nelements=1'
CADMIUM = 'chemical_formula_reduced="Cd"'


@pytest.fixture
def ask(run, empty_folder, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(empty_folder.parent / 'cache'))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')

    def generate(provider, question='elements: [Cu]'):
        (empty_folder / 'queried.yaml').write_text(CONFIG.format(provider=provider, question=question))
        return run('generate', 'queried.yaml', '-o', 'out.extxyz')

    return generate


def test_seeds_from_a_database_record_their_origin(ask):
    with serve({COPPER: [structure('cu-1', ['Cu', 'Cu'])]}) as address:
        result = ask(address)
    assert (result.exit_code, result.stderr) == (0, '')
    record = read('out.extxyz').info['record']
    assert record['database_id'] == 'cu-1'
    assert record['query'] == {'provider': address, 'elements': ['Cu']}


def test_an_answer_with_an_element_that_the_calculator_does_not_support_is_refused(ask):
    with serve({CADMIUM: [structure('cd', ['Cd', 'Cd'])]}) as address:
        result = ask(address, 'formula: Cd')
    assert (result.exit_code, result.stdout) == (2, '')
    assert_refused(result.stderr, Code.ELEMENT_UNSUPPORTED, 'generation[0]: ', 'Cd', 'emt', 'Ag, Al, Au')


def test_a_missing_network_is_reported_on_one_line_and_no_file_is_created(ask, empty_folder, program):
    with serve({}) as address:
        pass
    ask(address)
    done = subprocess.run([program, 'generate', 'queried.yaml'], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, '')
    assert_refused(done.stderr, Code.DATABASE_UNREACHABLE, address, 'ConnectionError')
    assert os.listdir() == ['queried.yaml']
    assert not (empty_folder.parent / 'cache').exists()


def test_check_reports_the_number_of_structures_in_the_database(ask, run):
    with serve({COPPER: [structure('1', ['Cu', 'Cu']), structure('2', ['Cu', 'Cu'], a_A=4.2)]}) as address:
        ask(address)
        result = run('config', 'check', 'queried.yaml')
    assert (result.exit_code, result.stderr) == (0, '')
    (seeds,) = [line for line in result.stdout.splitlines() if line.startswith('seeds')]
    assert all(value in seeds for value in ('2 ', 'structures', 'Cu2'))
    result = run('config', 'check', 'queried.yaml')
    assert (result.exit_code, result.stdout) == (2, '')
    assert_refused(result.stderr, Code.DATABASE_UNREACHABLE, address)

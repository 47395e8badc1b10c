import os
import subprocess

import pytest
from ase.io import read
from support.optimade_server import serve, structure

CONFIG = """\
name: asked
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
        (empty_folder / 'asked.yaml').write_text(CONFIG.format(provider=provider, question=question))
        return run('generate', 'asked.yaml', '-o', 'out.extxyz')

    return generate


def test_what_a_database_has_becomes_seeds_that_tell_where_they_come_from(ask):
    with serve({COPPER: [structure('cu-1', ['Cu', 'Cu'])]}) as address:
        result = ask(address)
    assert (result.exit_code, result.stderr) == (0, '')
    record = read('out.extxyz').info['record']
    assert record['database_id'] == 'cu-1'
    assert record['query'] == {'provider': address, 'elements': ['Cu']}


def test_an_element_that_the_calculator_does_not_know_is_told_when_the_answer_is_there(ask):
    with serve({CADMIUM: [structure('cd', ['Cd', 'Cd'])]}) as address:
        result = ask(address, 'formula: Cd')
    assert (result.exit_code, result.stdout) == (2, '')
    assert result.stderr.startswith('generation[0]: got Cd; the calculator emt knows ')


def test_no_network_is_one_line_and_nothing_is_created(ask, empty_folder, program):
    with serve({}) as address:
        pass
    ask(address)
    done = subprocess.run([program, 'generate', 'asked.yaml'], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, '')
    sentence = 'it cannot be reached (ConnectionError); check its address and the network, or give files'
    assert done.stderr == f'the query to {address} has no answer: {sentence}\n'
    assert os.listdir() == ['asked.yaml']
    assert not (empty_folder.parent / 'cache').exists()


def test_a_check_tells_how_many_structures_the_database_has(ask, run):
    with serve({COPPER: [structure('1', ['Cu', 'Cu']), structure('2', ['Cu', 'Cu'], a_A=4.2)]}) as address:
        ask(address)
        result = run('config', 'check', 'asked.yaml')
    assert (result.exit_code, result.stderr) == (0, '')
    assert '2 of kind structures, Cu2 for example' in result.stdout
    result = run('config', 'check', 'asked.yaml')
    assert (result.exit_code, result.stdout) == (2, '')
    assert 'it cannot be reached' in result.stderr

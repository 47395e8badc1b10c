import subprocess
import sys

import pytest

BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in BLOCKED:
            raise ImportError(f'{name} is blocked')
sys.meta_path.insert(0, Blocker())
"""


def run(blocked, code):
    code = f'BLOCKED = {blocked!r}\n{BLOCK}\n{code}'
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    'subpackage', ['config', 'generation', 'exploration', 'descriptors', 'sampling', 'storage', 'reporting']
)
def test_a_subpackage_of_the_science_imports_neither_aiida_nor_a_user_interface(subpackage):
    done = run(('aiida', 'typer', 'streamlit'), f'import aiida_mlip_autopipe.{subpackage}')
    assert (done.returncode, done.stderr) == (0, '')


def test_a_config_is_read_and_its_seeds_are_generated_without_aiida(write):
    path = write(
        'name: x\ngeneration: [{kind: alloy, composition: {Cu: 0.5, Au: 0.5}, n_seeds: 2}]\ncalculator: {kind: emt}\n'
    )
    code = f"""
from aiida_mlip_autopipe.config import load_config
from aiida_mlip_autopipe.generation import generate_seeds
config = load_config({str(path)!r}, ['generation[0].n_seeds=3'])
print(len(generate_seeds(config.generation, random_seed=1, cutoff_A=config.calculator.cutoff_A).seeds))
print(*(name for name in ('torch', 'pymatgen', 'sevenn', 'matplotlib') if name in sys.modules))
"""
    done = run(('aiida', 'typer'), code)
    assert (done.stdout, done.stderr) == ('3\n\n', '')

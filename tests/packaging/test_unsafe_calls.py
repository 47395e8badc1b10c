"""Nothing in the package unpickles data, evaluates text or starts a shell, except in the listed places."""

import ast
from pathlib import Path

import pytest

REASONS = {
    ('generation/parallel.py', 'pickle'): 'the entries that this process itself passes to its worker processes',
    ('storage/formats/ace.py', 'to_pickle'): 'pacemaker reads pickled tables, which are only written here',
    (
        'training/formats/mace.py',
        'torch.load',
    ): 'a MACE model to fine-tune, which MACE itself loads in the same way, and the '
    'checkpoints that the trainer writes',
    (
        'training/formats/sevennet.py',
        'torch.load',
    ): 'a SevenNet checkpoint to fine-tune, which contains objects; the '
    'page about trust says so, and SevenNet itself has loaded it before',
}
MODULES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'marshal', 'shelve', 'code', 'pty', 'jsonpickle'}
CALLS = {'eval', 'exec', 'compile', '__import__', 'execfile'}
METHODS = {
    *('os.system', 'os.popen', 'subprocess.getoutput', 'subprocess.getstatusoutput', 'torch.load', 'joblib.load'),
    *('yaml.load', 'yaml.load_all', 'yaml.full_load', 'yaml.unsafe_load'),
}
ATTRIBUTES = {'read_pickle', 'to_pickle', 'extractall'}
ARGUMENTS = {('shell', True), ('allow_pickle', True)}


def unsafe_calls(text: str) -> set[str]:
    """Return the names of unsafe modules, functions and arguments that a source file uses."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} & MODULES
            found |= {f'{node.module}.{alias.name}' for alias in node.names} & METHODS
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found |= {called} & (CALLS | METHODS)
            found |= {called.rpartition('.')[2]} & ATTRIBUTES
            found |= {word.arg for word in node.keywords if (word.arg, getattr(word.value, 'value', None)) in ARGUMENTS}
    return found


def test_nothing_unpickles_evaluates_or_starts_a_shell_except_in_listed_places(root: Path) -> None:
    found = {
        (path.relative_to(folder).as_posix(), name)
        for folder in (root / 'aiida_mlip_autopipe', root / 'workchains')
        for path in folder.rglob('*.py')
        for name in unsafe_calls(path.read_text())
    }
    assert found == REASONS.keys()


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        ('from pickle import loads', 'pickle'),
        ('import os\nos.system("ls")', 'os.system'),
        ('from os import system', 'os.system'),
        ('subprocess.run(command, shell=True)', 'shell'),
        ('np.load(path, allow_pickle=True)', 'allow_pickle'),
        ('eval("1")', 'eval'),
        ('yaml.load(text, Loader=yaml.Loader)', 'yaml.load'),
        ('pandas.read_pickle(path)', 'read_pickle'),
        ('tarfile.open(path).extractall()', 'extractall'),
    ],
)
def test_an_unsafe_call_is_found(text: str, name: str) -> None:
    assert unsafe_calls(text) == {name}

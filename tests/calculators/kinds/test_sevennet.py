"""SevenNet with shipped models: they are found without an import, load fast, and give SevenNet's own results."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from support.errors import refused

from aiida_mlip_autopipe.calculators.isolated_atoms import evaluate_isolated_atoms
from aiida_mlip_autopipe.calculators.kinds.sevennet import SHIPPED, SevenNetLoader, SevenNetSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration import CALCULATORS, resolve_model
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, JOB_FILE, RESULT_FILE

SHA256_OF_7NET_0 = '7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36'


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """A cache folder that all tests of this module use."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp('cache')
        patch.setenv('XDG_CACHE_HOME', str(folder))
        yield folder


def salt() -> Atoms:
    atoms = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def left_handed() -> Atoms:
    atoms = bulk('Ti') * (2, 2, 1)
    atoms.rattle(0.1, seed=2)
    return Atoms(atoms.numbers, cell=atoms.cell.array[[1, 0, 2]], positions=atoms.positions, pbc=True)


def slab() -> Atoms:
    atoms = fcc111('Cu', (2, 2, 2), vacuum=7.0)
    add_adsorbate(atoms, 'O', 1.2, 'fcc')
    return atoms


def far_apart() -> Atoms:
    return Atoms('Ar2', [[0, 0, 0], [0, 0, 8.0]], cell=[20, 20, 20], pbc=True)


STRUCTURES = {
    'salt': salt(),
    'primitive cell': bulk('Cu'),
    'left-handed cell': left_handed(),
    'slab, not periodic along c': slab(),
    'molecule, not periodic': molecule('C2H6'),
    'no pair within the cutoff': far_apart(),
}


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_models_are_found_without_an_import(name, monkeypatch):
    for imported in [module for module in sys.modules if module.partition('.')[0] == 'sevenn']:
        monkeypatch.delitem(sys.modules, imported)
    path = resolve_model(SevenNetSettings(model=name))
    assert path.is_file()
    assert 'sevenn' not in sys.modules


def test_the_default_model_has_the_expected_sha256():
    settings = SevenNetSettings()
    assert SevenNetLoader(settings).check() == SHA256_OF_7NET_0
    assert SevenNetLoader(SevenNetSettings(model_sha256=SHA256_OF_7NET_0)).check() == SHA256_OF_7NET_0


def test_an_unknown_model_name_is_refused_and_the_message_lists_the_known_names():
    with refused(Code.MODEL_NOT_LOADED, "'7net-1'", *SHIPPED):
        resolve_model(SevenNetSettings(model='7net-1'))


@pytest.fixture(scope='module')
def scripted(cache):
    return SevenNetLoader(SevenNetSettings(device='cpu')).load().calculator


@pytest.fixture(scope='module')
def original(cache):
    return SevenNetLoader(SevenNetSettings(device='cpu')).load_original('cpu').calculator


@pytest.mark.mlip
@pytest.mark.parametrize('atoms', STRUCTURES.values(), ids=STRUCTURES.keys())
def test_the_saved_model_gives_the_results_of_the_original(scripted, original, atoms):
    results = []
    for calculator in (scripted, original):
        copy = atoms.copy()
        copy.calc = calculator
        stress = copy.get_stress() if copy.pbc.all() else np.zeros(6)
        results.append((copy.get_potential_energy() / len(copy), copy.get_forces(), stress))
    (energy, forces, stress), (expected_energy, expected_forces, expected_stress) = results
    assert type(scripted) is not type(original)
    assert energy == pytest.approx(expected_energy, abs=1e-6)
    assert forces == pytest.approx(expected_forces, abs=1e-6 * max(1.0, np.abs(expected_forces).max()))
    assert stress == pytest.approx(expected_stress, abs=1e-7)


@pytest.mark.mlip
def test_an_isolated_atom_has_half_the_energy_of_two_distant_atoms(scripted):
    energies, faults = evaluate_isolated_atoms(['Ar'], scripted)
    pair = far_apart()
    pair.calc = scripted
    assert faults == []
    assert energies == {'Ar': pytest.approx(pair.get_potential_energy() / 2, abs=1e-6)}


@pytest.mark.mlip
def test_the_first_call_gives_exactly_the_results_of_later_calls(cache):
    calculator = SevenNetLoader(SevenNetSettings(device='cpu')).load().calculator
    first, other = salt(), salt()
    other.rattle(0.05, seed=7)
    answers = []
    for atoms in (first, other, first, other, first):
        calculator.reset()
        calculator.calculate(atoms)
        answers.append({name: np.array(value) for name, value in calculator.results.items()})
    for name, value in answers[0].items():
        assert np.array_equal(value, answers[2][name]), name
        assert np.array_equal(value, answers[4][name]), name


@pytest.mark.mlip
def test_a_damaged_file_in_the_cache_is_replaced(cache, scripted):
    (file,) = (cache / 'aiida-mlip-autopipe').glob('*.pt')
    intact = file.read_bytes()
    file.write_bytes(intact[:1000])
    again = SevenNetLoader(SevenNetSettings(device='cpu')).load().calculator
    assert type(again) is type(scripted)
    assert len(file.read_bytes()) > 1_000_000


@pytest.mark.mlip
def test_a_cache_that_is_not_writable_does_not_cause_an_error(tmp_path, monkeypatch, scripted):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    loaded = SevenNetLoader(SevenNetSettings(device='cpu')).load()
    assert type(loaded.calculator) is type(scripted)


@pytest.mark.mlip
def test_a_saved_multi_fidelity_model_gives_the_energy_of_the_original(cache):
    settings = SevenNetSettings(model='7net-mf-0', modal='PBE', device='cpu')
    energies = []
    for loaded in (SevenNetLoader(settings).load(), SevenNetLoader(settings).load_original('cpu')):
        atoms = salt()
        atoms.calc = loaded.calculator
        energies.append(atoms.get_potential_energy())
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)


@pytest.mark.mlip
def test_a_file_that_is_not_a_model_is_refused(cache, job_folder, copper, tmp_path):
    (tmp_path / 'broken.pth').write_bytes(b'no weights')
    calculator = {'kind': 'sevennet', 'model': str(tmp_path / 'broken.pth'), 'device': 'cpu'}
    with pytest.warns(UserWarning, match='SevenNet'):
        result = job_folder().write(copper, calculator=calculator).run()
    assert (result.outcome, result.code) == ('refused', Code.MODEL_NOT_LOADED)
    assert "'broken.pth'" in result.message


@pytest.mark.mlip
def test_a_run_continues_exactly_in_another_process(cache, scripted, job_folder, same_frames):
    atoms = bulk('Cu') * (2, 2, 1)
    settings = {'n_steps': 6, 'frame_interval': 1, 'ensemble': 'npt'}
    calculator = {'kind': 'sevennet', 'device': 'cpu'}
    uninterrupted = job_folder('uninterrupted').write(atoms, settings, calculator=calculator)
    parts = job_folder('parts').write(atoms, settings | {'n_steps': 3}, calculator=calculator)
    for folder in (uninterrupted, parts):
        assert run_process(folder.path)['outcome'] == 'completed'
    assert (parts.path / CHECKPOINT_FILE).exists()
    parts.write(atoms, settings, calculator=calculator)
    result = run_process(parts.path)
    assert result['model_sha256'] == SHA256_OF_7NET_0
    assert (result['model_name'], result['precision'], result['last_step']) == ('7net-0', 'float32', 6)
    same_frames(parts.frames(), uninterrupted.frames())


@pytest.mark.mlip
def test_a_job_imports_no_packages_for_training(cache, scripted):
    code = (
        'import sys\n'
        'from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetLoader, SevenNetSettings\n'
        'SevenNetLoader(SevenNetSettings(device="cpu")).load()\n'
        'print([name for name in ("sevenn", "e3nn", "torch_geometric", "sklearn", "pandas", "torch._dynamo")'
        ' if name in sys.modules])'
    )
    output = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == '[]'


def run_process(folder) -> dict:
    command = [sys.executable, '-m', 'aiida_mlip_autopipe.exploration', JOB_FILE]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return json.loads((folder / RESULT_FILE).read_text())


def test_the_registry_contains_sevennet():
    assert CALCULATORS.make(SevenNetSettings()).settings.cutoff_A == 5.0

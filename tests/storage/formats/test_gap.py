import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dpdata
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa

from aiida_mlip_autopipe.storage import make_row
from aiida_mlip_autopipe.storage.formats.export import convert_rows


def test_dpdata_reads_the_labels_in_the_convention_of_quip(tmp_path, varied):
    path = tmp_path / 'gap.xyz'
    assert convert_rows(path, varied[:4], format='gap').n_rows == 4
    systems = dpdata.MultiSystems.from_file(str(path), fmt='quip/gap/xyz')
    crystals = systems['Cu4Au0']
    alloys = systems['Cu2Au2']
    traces = []
    for system, index, row in ((crystals, 0, varied[0]), (crystals, 1, varied[1]), (alloys, 1, varied[3])):
        results = row.atoms.calc.results
        order = np.argsort(row.atoms.numbers, kind='stable')
        # dpdata reads this format in single precision.
        np.testing.assert_allclose(system['coords'][index], row.atoms.positions[order], atol=1e-6)
        np.testing.assert_allclose(system['energies'][index], results['energy'], atol=1e-6)
        np.testing.assert_allclose(system['forces'][index], results['forces'][order], atol=1e-6)
        virial = -voigt_6_to_full_3x3_stress(results['stress']) * row.atoms.get_volume()
        np.testing.assert_allclose(system['virials'][index], virial, atol=1e-5)
        traces.append(np.trace(system['virials'][index]))
    # The first crystal is compressed and the second one is stretched.
    assert traces[0] > 0 > traces[1]


def test_frames_have_config_types_and_their_origin(tmp_path, compressed, make_provenance):
    atom = Atoms('Cu', pbc=False)
    atom.calc = SinglePointCalculator(atom, energy=-0.3, forces=np.zeros((1, 3)))
    isolated = make_row(atom, make_provenance(), {'kind': 'atom'})
    convert_rows(tmp_path / 'gap.xyz', [compressed, isolated], format='gap')
    frames = read(tmp_path / 'gap.xyz', ':')
    assert [frame.info['config_type'] for frame in frames] == ['alloy', 'isolated_atom']
    assert frames[0].info['label_source'] == 'mlip:emt'
    assert (frames[0].info['seed'], frames[0].info['step']) == ('seed-1234567890123456', 120)
    assert frames[1].cell.lengths().tolist() == [20, 20, 20]


@pytest.mark.parametrize('text', ['a "b" c', 'a=b', 'back\\slash', "it's", '{x}', '[1,2]', 'two\nlines'])
@pytest.mark.parametrize('file_format', ['gap', 'nep', 'extxyz'])
def test_any_text_in_a_key_is_read_back_and_breaks_no_line(tmp_path, compressed, file_format, text):
    row = replace(compressed, key_value_pairs=compressed.key_value_pairs | {'kind': text})
    convert_rows(tmp_path / 'a.xyz', [row, row], format=file_format)
    frames = read(tmp_path / 'a.xyz', ':', format='extxyz')
    expected = text.replace('\n', ' ')
    # ASE's writer does not escape a backslash.
    assert file_format == 'extxyz' or [frame.info['config_type'] for frame in frames] == [expected, expected]
    assert len(frames) == 2


GAP = (
    'soap l_max=4 n_max=6 atom_sigma=0.5 cutoff=4.5 cutoff_transition_width=1.0 delta=1.0 covariance_type=dot_product '
    'zeta=4 n_sparse=60 sparse_method=cur_points add_species=T'
)


def test_gap_fit_learns_the_stresses_from_the_virials(tmp_path, compressed):
    """Train on the file with gap_fit, and predict with QUIP. Virials with the wrong sign give an error of 8 GPa."""
    potential = pytest.importorskip('quippy.potential', reason='quippy-ase is not installed')
    rng = np.random.default_rng(0)
    rows = []
    for index in range(40):
        atoms = bulk('Cu', cubic=True)
        strain = rng.uniform(0.94, 1.06) * np.eye(3) + rng.normal(scale=0.014, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms.rattle(0.08, seed=index)
        atoms.calc = EMT()
        results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
        atoms.calc = SinglePointCalculator(atoms, **results)
        rows.append(replace(compressed, atoms=atoms))
    convert_rows(tmp_path / 'train.xyz', rows[:30], format='gap')
    subprocess.run(
        [
            Path(sys.executable).with_name('gap_fit'),
            *('at_file=train.xyz', f'gap={{{GAP}}}', 'e0={Cu:3.5}', 'gp_file=gap.xml'),
            # The energy of each frame fixes the constant; the virials contribute most to the fit.
            'default_sigma={0.001 10 0.02 0.0}',
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    predicted, expected = [], []
    for row in rows[30:]:
        atoms = row.atoms.copy()
        atoms.calc = potential.Potential(param_filename=str(tmp_path / 'gap.xml'))
        predicted.append(atoms.get_stress())
        expected.append(row.labels['stress'])
    error = np.sqrt(np.mean(np.subtract(predicted, expected) ** 2)) / GPa
    assert error < 0.5 < 5 < np.sqrt(np.mean(np.square(expected))) / GPa

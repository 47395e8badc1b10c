import shlex
from dataclasses import replace

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import voigt_6_to_full_3x3_stress

from aiida_mlip_autopipe.storage.formats.export import convert_rows


def read_as_gpumd_does(path):
    """Yield the frames of a file in the way that the documentation of GPUMD describes."""
    lines = iter(path.read_text().splitlines())
    for first in lines:
        entries = dict(item.split('=', 1) for item in shlex.split(next(lines)))
        entries = {key.lower(): value for key, value in entries.items()}
        atoms = [next(lines).split() for _ in range(int(first))]
        columns, start = {}, 0
        items = entries['properties'].split(':')
        for name, width in zip(items[::3], map(int, items[2::3]), strict=True):
            columns[name] = [line[start : start + width] for line in atoms]
            start += width
        assert all(len(line) == start for line in atoms)
        yield {
            'lattice': np.array(entries['lattice'].split(), dtype=float).reshape(3, 3),
            'energy': float(entries['energy']),
            'virial': np.array(entries['virial'].split(), dtype=float).reshape(3, 3) if 'virial' in entries else None,
            'species': [symbol for (symbol,) in columns['species']],
            'pos': np.array(columns['pos'], dtype=float),
            'force': np.array(columns['force'], dtype=float),
            'others': set(entries) - {'lattice', 'energy', 'virial', 'properties', 'pbc'},
        }


def test_labels_are_read_with_the_sign_and_units_of_gpumd(tmp_path, varied):
    path = tmp_path / 'train.xyz'
    assert convert_rows(path, varied, format='nep').n_rows == 6
    frames = list(read_as_gpumd_does(path))
    for frame, row in zip(frames, varied, strict=True):
        results = row.atoms.calc.results
        assert frame['species'] == row.atoms.get_chemical_symbols()
        # GPUMD reads `temperature`, `weight` and others as properties of the frame.
        assert frame['others'] == {'config_type'}
        np.testing.assert_allclose(frame['energy'], results['energy'], atol=1e-9)
        np.testing.assert_allclose(frame['force'], results['forces'], atol=1e-9)
        if row.atoms.pbc.all():
            np.testing.assert_allclose(frame['lattice'], row.atoms.cell.array, atol=1e-9)
            np.testing.assert_allclose(frame['pos'], row.atoms.positions, atol=1e-9)
            virial = -voigt_6_to_full_3x3_stress(results['stress']) * row.atoms.get_volume()
            np.testing.assert_allclose(frame['virial'], virial, atol=1e-9)
        else:
            assert frame['virial'] is None
    # GPUMD: "Positive and negative values represent compressed and stretched states".
    assert np.trace(frames[0]['virial']) > 0 > np.trace(frames[1]['virial'])


def test_a_cluster_and_a_layer_get_a_periodic_cell_with_vacuum(tmp_path, varied):
    written = convert_rows(tmp_path / 'train.xyz', varied, format='nep')
    assert [n for remark, n in written.remarks.items() if 'vacuum' in remark] == [2]
    *_, layer, cluster = read_as_gpumd_does(tmp_path / 'train.xyz')
    for frame, row, axes in ((layer, varied[4], [2]), (cluster, varied[5], [0, 1, 2])):
        extent = np.ptp(row.atoms.positions, axis=0)[axes]
        np.testing.assert_allclose(np.diag(frame['lattice'])[axes], extent + 20, atol=1e-9)
        # Only a shift, so that distances are the same.
        shift = frame['pos'] - row.atoms.positions
        np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-9)


def test_the_virial_of_a_layer_does_not_depend_on_the_added_vacuum(tmp_path, varied):
    stress = np.array([0.01, -0.02, 0.0, 0.0, 0.0, 0.003])
    row = replace(varied[4], atoms=varied[4].atoms.copy())
    row.atoms.center(vacuum=3.0, axis=2)
    row.atoms.calc = SinglePointCalculator(row.atoms, **varied[4].labels, stress=stress)
    convert_rows(tmp_path / 'train.xyz', [row], format='nep')
    (frame,) = read_as_gpumd_does(tmp_path / 'train.xyz')
    virial = -voigt_6_to_full_3x3_stress(stress) * row.atoms.get_volume()
    np.testing.assert_allclose(frame['virial'], virial, atol=1e-9)

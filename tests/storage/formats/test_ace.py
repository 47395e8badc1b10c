import gzip
import pickle

import numpy as np

from aiida_mlip_autopipe.storage.formats.export import convert_rows

ISOLATED = {'Cu': -0.25, 'Au': -0.5}


def read_table(path):
    """Read the table as pacemaker does, by pandas' pickle."""
    with gzip.open(path) as file:
        return pickle.load(file)


def test_the_table_has_the_columns_of_pacemaker(tmp_path, varied):
    path = tmp_path / 'cu_au.pckl.gzip'
    for row in varied:
        row.data['isolated_atoms'] = ISOLATED
    assert convert_rows(path, varied).n_rows == 6
    table = read_table(path)
    assert sorted(table.columns) == ['ase_atoms', 'energy', 'energy_corrected', 'forces', 'name']
    for (_, found), row in zip(table.iterrows(), varied, strict=True):
        results = row.atoms.calc.results
        assert found['energy'] == results['energy']
        reference = sum(ISOLATED[symbol] for symbol in row.atoms.symbols)
        assert found['energy_corrected'] == results['energy'] - reference
        np.testing.assert_array_equal(found['forces'], results['forces'])
        assert found['ase_atoms'].get_chemical_symbols() == row.atoms.get_chemical_symbols()
        assert found['ase_atoms'].calc is None
    np.testing.assert_array_equal(table['ase_atoms'][0].positions, varied[0].atoms.positions)
    np.testing.assert_array_equal(table['ase_atoms'][0].cell.array, varied[0].atoms.cell.array)
    # pacemaker refuses structures that are periodic only in some directions.
    assert [atoms.pbc.tolist() for atoms in table['ase_atoms'][-2:]] == [[True] * 3, [False] * 3]


def test_without_the_energies_of_isolated_atoms_the_column_is_absent_and_reported(tmp_path, varied):
    path = tmp_path / 'cu_au.pckl.gzip'
    varied[0].data['isolated_atoms'] = {'Cu': -0.25}
    remarks = convert_rows(path, varied).remarks
    assert 'energy_corrected' not in read_table(path).columns
    assert any('reference_energy' in remark for remark in remarks)


def test_the_same_rows_give_the_same_bytes(tmp_path, varied):
    paths = [tmp_path / f'{name}.pckl.gzip' for name in 'ab']
    for path in paths:
        convert_rows(path, varied)
    assert paths[0].read_bytes() == paths[1].read_bytes()

from __future__ import annotations

import re

import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.io import read, write
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.files.reading import read_structures

CELL = {'a': 5.64, 'b': 5.64, 'c': 5.64, 'alpha': 90, 'beta': 90, 'gamma': 90}


@pytest.fixture
def cif(tmp_path):
    """Write a CIF file without symmetry operations."""

    def make(symbol: str | None, number: int, *sites: str, occupancies: bool = False, **cell: float):
        lines = ['data_crystal']
        for name, value in {**CELL, **cell}.items():
            lines.append(f'_cell_{"angle" if len(name) > 1 else "length"}_{name} {value}')
        if symbol:
            lines.append(f"_symmetry_space_group_name_H-M '{symbol}'")
        lines += [f'_symmetry_Int_Tables_number {number}', 'loop_', '_atom_site_label', '_atom_site_type_symbol']
        lines += [f'_atom_site_fract_{axis}' for axis in 'xyz']
        lines += ['_atom_site_occupancy'] if occupancies else []
        path = tmp_path / 'crystal.cif'
        path.write_text('\n'.join([*lines, *sites]) + '\n')
        return path

    return make


def text_file(folder, name: str, text: str):
    (folder / name).write_text(text)
    return folder / name


def spacegroup(atoms) -> int:
    return int(
        spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 0.02).number
    )


# CIF: occupancies.


def test_partially_occupied_sites_are_refused_with_their_occupancies(cif):
    path = cif('F m -3 m', 225, 'Na1 Na 0 0 0 0.6', 'K1 K 0 0 0 0.4', 'Cl1 Cl .5 .5 .5 0.9', occupancies=True)
    with refused(Code.OCCUPANCY_PARTIAL, str(path), 'crystal', 'Na1 0.6', 'K1 0.4', 'Cl1 0.9'):
        read_structures(path)


def test_full_occupancies_are_read(cif):
    path = cif('F m -3 m', 225, 'Na1 Na 0 0 0 1', 'Cl1 Cl .5 .5 .5 1.0', occupancies=True)
    (atoms,) = read_structures(path)
    assert str(atoms.symbols.formula.count()) == "{'Na': 4, 'Cl': 4}"


def test_a_disordered_structure_of_pymatgen_is_refused_and_an_ordered_one_is_read(tmp_path):
    lattice = Lattice.cubic(3.6)
    mixed = Structure.from_spacegroup('Fm-3m', lattice, [{'Cu': 0.5, 'Au': 0.5}], [[0, 0, 0]])
    CifWriter(mixed).write_file(tmp_path / 'mixed.cif')
    with refused(Code.OCCUPANCY_PARTIAL, 'mixed.cif', 'Cu0 0.5', 'Au1 0.5'):
        read_structures(tmp_path / 'mixed.cif')
    CifWriter(Structure.from_spacegroup('Fm-3m', lattice, ['Cu'], [[0, 0, 0]])).write_file(tmp_path / 'copper.cif')
    assert len(read_structures(tmp_path / 'copper.cif')[0]) == 4


def test_only_the_structures_that_are_read_must_be_ordered(cif, tmp_path):
    disordered = cif(None, 225, 'Cl1 Cl 0 0 0 0.9', occupancies=True).read_text()
    write(tmp_path / 'ordered.cif', bulk('Cu'))
    both = text_file(tmp_path, 'both.cif', (tmp_path / 'ordered.cif').read_text() + '\n' + disordered)
    assert str(read_structures(both, '0')[0].symbols) == 'Cu'
    with refused(Code.OCCUPANCY_PARTIAL, 'Cl1 0.9'):
        read_structures(both, '1')


def test_occupancies_in_other_formats_are_refused(cif, tmp_path):
    path = cif('F m -3 m', 225, 'Na1 Na 0 0 0 0.6', 'K1 K 0 0 0 0.4', occupancies=True)
    write(tmp_path / 'site.traj', read(path))  # with the occupancies in `info`, where ASE stores them
    with refused(Code.OCCUPANCY_PARTIAL, 'structure 0', 'site.traj', 'Na 0.6', 'K 0.4'):
        read_structures(tmp_path / 'site.traj')
    row = 'HETATM    {}  CU  CU      1       0.000   0.000   {:.3f}  {}  0.00          CU\n'
    half = text_file(tmp_path, 'half.pdb', row.format(1, 0, '1.00') + row.format(2, 2.5, '0.50') + 'END\n')
    with refused(Code.OCCUPANCY_PARTIAL, 'half.pdb', 'site 1', 'Cu 0.5'):
        read_structures(half)
    # Molecular dynamics programs leave the column at zero.
    none = text_file(tmp_path, 'none.pdb', row.format(1, 0, '0.00') + row.format(2, 2.5, '0.00') + 'END\n')
    assert len(read_structures(none)[0]) == 2


# CIF: settings, and rounded or unknown coordinates.


@pytest.mark.parametrize(
    ('symbol', 'number', 'cell'),
    [
        ('P 1 21/n 1', 14, {'b': 6.3, 'c': 7.1, 'beta': 95}),  # axes other than those of P21/c
        ('P 21/n', 14, {'b': 6.3, 'c': 7.1, 'beta': 95}),
        ('F d -3 m', 227, {}),  # two origins
        (None, 227, {}),
        ('R -3 m', 166, {'alpha': 60, 'beta': 60, 'gamma': 60}),  # ASE uses hexagonal axes
        ('P b n m', 62, {'b': 6.3, 'c': 7.1}),
    ],
)
def test_an_ambiguous_setting_is_refused(cif, symbol, number, cell):
    path = cif(symbol, number, 'Si1 Si 0.125 0.125 0.125', **cell)
    with refused(Code.SETTING_AMBIGUOUS, str(path), 'crystal', symbol or str(number)):
        read_structures(path)


@pytest.mark.parametrize(
    ('symbol', 'number', 'cell', 'n_atoms'),
    [
        ('P 21/c', 14, {'b': 6.3, 'c': 7.1, 'beta': 95}, 4),
        (None, 14, {'b': 6.3, 'c': 7.1, 'beta': 95}, 4),
        ('P n m a', 62, {'b': 6.3, 'c': 7.1}, 8),
        ('F m -3 m', 225, {}, 32),
        ('R -3 m', 166, {'c': 9.1, 'gamma': 120}, 36),
        (None, 1, {}, 1),
    ],
)
def test_a_standard_setting_needs_no_operations(cif, symbol, number, cell, n_atoms):
    (atoms,) = read_structures(cif(symbol, number, 'Si1 Si 0.1 0.1 0.1', **cell))
    assert len(atoms) == n_atoms
    assert spacegroup(atoms) == number or number == 1


@pytest.mark.parametrize('name', ['Si', 'Fe2O3'])
def test_operations_in_the_file_are_used_in_any_setting(tmp_path, name):
    if name == 'Si':
        ideal = Structure.from_spacegroup('Fd-3m:2', Lattice.cubic(5.43), ['Si'], [[0.125, 0.125, 0.125]])
    else:
        ideal = Structure.from_spacegroup('R-3c:H', Lattice.hexagonal(5.03, 13.75), ['Fe', 'O'],
                                          [[0, 0, 0.355], [0.306, 0, 0.25]])  # fmt: skip
    CifWriter(ideal, symprec=0.01).write_file(tmp_path / 'crystal.cif')
    (atoms,) = read_structures(tmp_path / 'crystal.cif')
    assert len(atoms) == len(ideal)
    assert np.sort(atoms.get_all_distances(mic=True), axis=None) == pytest.approx(
        np.sort(ideal.distance_matrix, axis=None), abs=1e-3
    )


@pytest.mark.parametrize('third', ['0.333', '0.3333', '0.33333'])
def test_images_of_a_site_that_differ_by_rounding_are_one_atom(cif, third):
    path = cif('P 63/m m c', 194, f'Mg1 Mg {third} {1 - float(third):.3f} 0.25', a=3.209, b=3.209, c=5.211, gamma=120)
    (atoms,) = read_structures(path)
    assert len(atoms) == 2
    assert atoms.get_distance(0, 1, mic=True) == pytest.approx(3.197, abs=0.01)


def test_compounds_with_rounded_coordinates_have_the_right_composition(tmp_path):
    # Alpha-quartz and corundum, as pymatgen writes them, with three digits.
    structures = {
        'quartz': Structure.from_spacegroup(
            'P3_221', Lattice.hexagonal(4.913, 5.405), ['Si', 'O'], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7858]]
        ),
        'corundum': Structure.from_spacegroup(
            'R-3c:H', Lattice.hexagonal(4.76, 12.99), ['Al', 'O'], [[0, 0, 0.352], [0.306, 0, 0.25]]
        ),
    }
    for name, ideal in structures.items():
        text = str(CifWriter(ideal, symprec=0.01))
        head, _, sites = text.partition('_atom_site_occupancy')
        rounded = re.sub(r'0\.\d{5,}', lambda match: f'{float(match[0]):.3f}', sites)
        (atoms,) = read_structures(text_file(tmp_path, f'{name}.cif', f'{head}_atom_site_occupancy{rounded}'))
        assert len(atoms) == len(ideal)


def test_an_unknown_coordinate_is_refused_with_its_site(cif):
    with refused(Code.STRUCTURE_UNUSABLE, 'crystal.cif', '_atom_site_fract_x', 'H1', '?'):
        read_structures(cif('P 1', 1, 'O1 O 0.5 0.5 0.5', 'H1 H ? ? ?'))


@pytest.mark.parametrize('frames', [':', '0'])
def test_a_file_that_is_not_a_cif_file_is_refused(tmp_path, frames):
    with refused(Code.FILE_UNREADABLE, 'own.cif'):
        read_structures(text_file(tmp_path, 'own.cif', 'not a crystal\n'), frames)


# LAMMPS.

DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
4
ITEM: BOX BOUNDS pp pp pp
0 3.6
0 3.6
0 3.6
ITEM: ATOMS id type{} x y z
1 1{} 0 0 0
2 2{} 1.8 1.8 0
3 1{} 1.8 0 1.8
4 2{} 0 1.8 1.8
"""
DATA = """LAMMPS data
4 atoms
2 atom types
0 3.6 xlo xhi
0 3.6 ylo yhi
0 3.6 zlo zhi
{}
Atoms # atomic

1 1 0 0 0
2 2 1.8 1.8 0
3 1 1.8 0 1.8
4 2 0 1.8 1.8
"""


def test_atom_types_without_elements_are_refused(tmp_path):
    with refused(Code.ELEMENTS_MISSING, 'own.dump', 'line 9', 'lammps_types'):
        read_structures(text_file(tmp_path, 'own.dump', DUMP.format('', '', '', '', '')))
    for name in ('own.lammps-data', 'own.data'):
        with refused(Code.ELEMENTS_MISSING, name, '2', 'lammps_types'):
            read_structures(text_file(tmp_path, name, DATA.format('')))
    masses = '\nMasses\n\n1 1.0\n2 2.5\n'  # reduced units
    with refused(Code.ELEMENTS_MISSING, 'own.data', '2.5', 'type 2', 'lammps_types'):
        read_structures(text_file(tmp_path, 'own.data', DATA.format(masses)))


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('own.dump', DUMP.format(' element', ' Cu', ' Au', ' Cu', ' Au')),
        ('own.data', DATA.format('\nMasses\n\n1 63.546\n2 196.967\n')),
        ('own.data', DATA.format('\nMasses\n\n1 63.5\n2 197.0\n')),
        ('own.data', DATA.format('\nAtom Type Labels\n\n1 Cu\n2 Au\n')),
    ],
    ids=['element', 'masses', 'rounded masses', 'labels'],
)
def test_elements_in_a_lammps_file_are_used(tmp_path, name, text):
    (atoms,) = read_structures(text_file(tmp_path, name, text))
    assert str(atoms.symbols) == 'CuAuCuAu'


@pytest.mark.parametrize(
    ('name', 'text'), [('own.dump', DUMP.format('', '', '', '', '')), ('own.data', DATA.format(''))]
)
def test_the_elements_of_atom_types_can_be_set(generate, tmp_path, name, text):
    entry = {'kind': 'structures', 'files': [str(text_file(tmp_path, name, text))]}
    (seed,) = generate({**entry, 'lammps_types': ['Cu', 'Au']}).seeds
    assert str(seed.atoms.symbols) == 'CuAuCuAu'
    with refused(Code.ELEMENTS_MISSING, name, 'lammps_types', '1'):
        generate({**entry, 'lammps_types': ['Cu']})


# XYZ.

LATTICE = 'Lattice="10 0 0 0 10 0 0 0 10"'
SPECIES = 'Properties=species:S:1:pos:R:3'


@pytest.mark.parametrize(
    ('comment', 'row', 'code', 'values'),
    [
        (SPECIES, 'OW 0 0 0', Code.ELEMENT_UNKNOWN, ["'OW'", ' O']),
        (SPECIES, 'HW1 0 0 0', Code.ELEMENT_UNKNOWN, ["'HW1'", ' H']),
        (SPECIES, 'D 0 0 0', Code.ELEMENT_UNKNOWN, ["'D'", ' H']),
        (SPECIES, 'Fe2+ 0 0 0', Code.ELEMENT_UNKNOWN, ["'Fe2+'", ' Fe']),
        (SPECIES, 'Cu 0 0 high', Code.FILE_UNREADABLE, ['pos', "'high'"]),
        (SPECIES, 'Cu 0 0', Code.FILE_UNREADABLE, ['3', '4']),
    ],
)
def test_a_wrong_row_of_an_xyz_file_is_refused_with_frame_and_line(tmp_path, comment, row, code, values):
    good = f'2\n{LATTICE} {SPECIES}\nCu 0 0 0\nCu 2 2 0\n'
    path = text_file(tmp_path, 'own.xyz', good + f'2\n{LATTICE} {comment}\nCu 2 2 0\n{row}\n')
    with refused(code, str(path), 'frame 1', 'line 8', *values):
        read_structures(path)


@pytest.mark.parametrize('properties', ['id:I:1:element:S:1:position:R:3', 'pos:R:3:species:I:1', 'species:S:pos:R:3'])
def test_columns_without_element_or_position_are_refused(tmp_path, properties):
    row = {'i': '1 Cu 0 0 0', 'p': '0 0 0 1', 's': 'Cu 0 0 0'}[properties[0]]
    path = text_file(tmp_path, 'own.xyz', f'1\n{LATTICE} Properties={properties}\n{row}\n')
    with refused(Code.FILE_UNREADABLE, str(path), 'frame 0', 'line 2', properties):
        read_structures(path)


def test_additional_columns_are_ignored_and_plain_xyz_files_are_read(tmp_path):
    extra = f'1\n{LATTICE} {SPECIES}:forces:R:3:kept:L:1\nCu 1 2 3 0 0 0 T\n'
    assert read_structures(text_file(tmp_path, 'own.xyz', extra))[0].positions.tolist() == [[1, 2, 3]]
    assert str(read_structures(text_file(tmp_path, 'own.xyz', '1\nwater\nO 0 0 0\n'))[0].symbols) == 'O'


# Frames.


@pytest.mark.parametrize('name', ['own.traj', 'own.extxyz', 'POSCAR', 'own.cif'])
@pytest.mark.parametrize('frames', ['-9', '7', '7:'])
def test_a_frame_that_the_file_does_not_have_is_refused(tmp_path, name, frames):
    write(tmp_path / name, bulk('Cu'))
    with refused(Code.OUT_OF_RANGE, name, repr(frames)):
        read_structures(tmp_path / name, frames)


def test_deuterium_in_a_cif_file_becomes_hydrogen_and_is_reported(cif):
    (atoms,) = read_structures(cif('P 1', 1, 'O1 O 0 0 0', 'D1 D 0.2 0 0'))
    assert sorted(atoms.symbols) == ['H', 'O']
    assert atoms.info['dropped'] == ['masses']
    assert not atoms.has('masses')

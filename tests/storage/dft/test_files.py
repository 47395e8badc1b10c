from aiida_mlip_autopipe.storage.dft import write_dft_inputs
from aiida_mlip_autopipe.storage.dft.files import list_files
from aiida_mlip_autopipe.storage.dft.inputs import make_code


def test_the_files_that_are_read_are_those_that_identify_calculations_and_their_outputs(tmp_path, compressed):
    code = make_code({'code': 'vasp', 'label_source': 'dft:vasp:pbe', 'incar': {'ENCUT': 400}}, 'x')
    row, atom = write_dft_inputs(tmp_path / 'runs', [compressed], code, isolated_atoms='add')
    for folder in (row, atom):
        (folder / 'vasprun.xml').touch()
        (folder / 'OUTCAR').touch()
    (row / 'pw.out').touch()
    (tmp_path / 'runs' / 'vasprun.xml').touch()
    assert list_files(tmp_path / 'runs') == [
        *(atom / name for name in ('atom.json', 'vasprun.xml')),
        *(row / name for name in ('row.json', 'vasprun.xml')),
    ]

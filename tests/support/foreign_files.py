"""Files of other programs with labelled structures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa


def labelled(atoms: Atoms) -> tuple[Atoms, dict[str, Any]]:
    """Return a structure without a calculator, and its energy, forces and stress by EMT."""
    atoms.calc = EMT()
    labels = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
    labels['energy'] = float(labels['energy'])
    bare = atoms.copy()
    bare.calc = None
    return bare, labels


def crystals(n: int = 3, symbol: str = 'Cu', scale: float = 0.95) -> list[tuple[Atoms, dict[str, Any]]]:
    """Return rattled and sheared crystals, which are compressed if ``scale`` is below 1, with their labels."""
    found = []
    for index in range(n):
        atoms = bulk(symbol, cubic=True)
        atoms.set_cell(atoms.cell.array * scale + 0.02 * np.eye(3, k=1), scale_atoms=True)
        atoms.rattle(0.05, seed=index)
        found.append(labelled(atoms))
    return found


def full(stress: np.ndarray) -> np.ndarray:
    """Return a stress in Voigt order as a matrix."""
    return np.asarray(stress)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def write_extxyz(path: Path, frames: Sequence[tuple[Atoms, Mapping[str, Any], Mapping[str, np.ndarray]]]) -> Path:
    """Write frames with values for the structure and for its atoms, all with 16 digits.

    It does not use ASE, whose writer changes some keys.
    """
    with path.open('w') as file:
        for atoms, info, arrays in frames:
            columns = ''.join(
                f':{name}:R:{np.reshape(array, (len(atoms), -1)).shape[1]}' for name, array in arrays.items()
            )
            comment = f'Lattice="{_words(atoms.cell.array)}" Properties=species:S:1:pos:R:3{columns} '
            comment += f'pbc="{" ".join("T" if one else "F" for one in atoms.pbc)}" '
            comment += ' '.join(f'{key}="{_words(value)}"' for key, value in info.items())
            file.write(f'{len(atoms)}\n{comment}\n')
            rows = np.hstack([atoms.positions, *(np.reshape(array, (len(atoms), -1)) for array in arrays.values())])
            for symbol, row in zip(atoms.get_chemical_symbols(), rows, strict=True):
                file.write(f'{symbol} {_words(row)}\n')
    return path


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ' '.join(repr(float(one)) for one in np.asarray(value).flat)


def write_vasprun(
    path: Path,
    steps: Sequence[tuple[Atoms, Mapping[str, Any]]],
    *,
    n_electronic: Sequence[int] | None = None,
    limit: int = 60,
    tags: Mapping[str, Any] | None = None,
    mesh: Sequence[int] = (4, 4, 4),
) -> Path:
    """Write the parts of a ``vasprun.xml`` that are read, with one ionic step for each structure.

    The stress is in kbar and positive for a compressed crystal, as VASP writes it.
    """

    def vectors(name: str, values: Any) -> str:
        return f'<varray name="{name}">' + ''.join(f'<v>{_words(one)}</v>' for one in values) + '</varray>'

    def structure(atoms: Atoms) -> str:
        positions = vectors('positions', atoms.get_scaled_positions(wrap=False))
        return f'<crystal>{vectors("basis", atoms.cell.array)}</crystal>{positions}'

    first = steps[0][0]
    elements = list(dict.fromkeys(first.get_chemical_symbols()))
    given = {'ENMAX': 400.0, 'GGA': 'PE', 'ISPIN': 1, 'ISMEAR': 0, 'SIGMA': 0.05, 'EDIFF': 1e-6} | dict(tags or {})
    settings = ''.join(f'<i name="{name}">{value}</i>' for name, value in given.items() if not isinstance(value, list))
    settings += ''.join(
        f'<v name="{name}">{_words(value)}</v>' for name, value in given.items() if isinstance(value, list)
    )
    text = '<?xml version="1.0"?>\n<modeling>\n'
    text += '<generator><i name="version" type="string">6.4.2  </i></generator>\n'
    text += f'<kpoints><generation><v name="divisions">{" ".join(map(str, mesh))}</v></generation>'
    text += '<varray name="kpointlist"><v>0 0 0</v></varray><varray name="weights"><v>1</v></varray></kpoints>\n'
    text += (
        f'<parameters><i type="int" name="NELM">{limit}</i>{settings}</parameters>\n<atominfo><array name="atoms"><set>'
    )
    text += ''.join(f'<rc><c>{symbol}</c><c>1</c></rc>' for symbol in first.get_chemical_symbols()) + '</set></array>'
    text += '<array name="atomtypes"><set>'
    text += ''.join(f'<rc><c>1</c><c>{one}</c><c>PAW_PBE {one} 01Jan2000 </c></rc>' for one in elements)
    text += f'</set></array></atominfo>\n<structure name="initialpos">{structure(first)}</structure>\n'
    for index, (atoms, labels) in enumerate(steps):
        energy = f'<energy><i name="e_fr_energy">{labels["energy"]!r}</i><i name="e_0_energy">1.0</i></energy>'
        n_steps = 9 if n_electronic is None else n_electronic[index]
        text += '<calculation>' + f'<scstep>{energy}</scstep>' * n_steps
        text += f'<structure>{structure(atoms)}</structure>{vectors("forces", labels["forces"])}'
        text += f'{vectors("stress", full(-labels["stress"] / (0.1 * GPa)))}{energy}</calculation>\n'
    path.write_text(text + '</modeling>\n')
    return path

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bcc110, fcc100, fcc111, molecule
from ase.data import covalent_radii
from ase.io import write
from pydantic import ValidationError

from aiida_mlip_autopipe.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.generation.adsorption import AdsorptionSettings, find_sites

SLAB = {'kind': 'surface', 'of': {'kind': 'alloy', 'composition': {'Cu': 1.0}}, 'miller_indices': [[1, 1, 1]],
        'thickness_A': 6, 'fixed_layers': 1}  # fmt: skip


def adsorption(**fields) -> dict:
    return {'kind': 'adsorption', 'of': SLAB, **fields}


# The distinct sites of these surfaces are known: fcc(111) has two hollows (fcc, hcp), fcc(100) one of four atoms,
# bcc(110) two bridges and one hollow of three.
@pytest.mark.parametrize(
    ('build', 'element', 'names'),
    [
        (fcc111, 'Cu', ['ontop', 'bridge', 'hollow', 'hollow']),
        (fcc100, 'Cu', ['ontop', 'bridge', 'hollow']),
        (bcc110, 'Fe', ['ontop', 'bridge', 'bridge', 'hollow']),
    ],
)
@pytest.mark.parametrize('size', [(1, 1, 4), (2, 2, 4)])
def test_distinct_sites_are_those_of_the_surface(build, element, names, size):
    slab = build(element, size, vacuum=8)
    slab.pbc = True
    assert [site.name for site in find_sites(slab, distinct=True)] == names


def test_every_molecule_is_put_on_every_distinct_site(generate):
    seeds = generate(adsorption(molecules=['CO', 'O'], orientation='upright')).seeds
    assert sorted((seed.record['molecule'], seed.record['site']) for seed in seeds) == sorted(
        (name, site) for name in ('CO', 'O') for site in ('ontop', 'bridge', 'hollow', 'hollow')
    )
    assert len(generate(adsorption(molecules=['O'], sites=['hollow'], orientation='upright')).seeds) == 2


def test_the_nearest_atoms_are_a_sum_of_covalent_radii_apart(generate):
    for seed in generate(adsorption(molecules=['O'], orientation='upright')).seeds:
        oxygen = len(seed.atoms) - 1
        distances = seed.atoms.get_distances(oxygen, range(oxygen), mic=True)
        bond = covalent_radii[8] + covalent_radii[29]
        assert distances.min() == pytest.approx(bond)
        expected = {'ontop': 1, 'bridge': 2, 'hollow': 3}[seed.record['site']]
        assert np.sum(distances < bond + 1e-3) == expected


def test_orientations_keep_the_molecule_and_point_all_ways(generate):
    seeds = generate(adsorption(molecules=['CO'], n_seeds=24)).seeds
    axes = []
    for seed in seeds:
        carbon, oxygen = (seed.atoms.positions[seed.atoms.symbols == s][0] for s in ('C', 'O'))
        axes.append((oxygen - carbon) / np.linalg.norm(oxygen - carbon))
        reference = molecule('CO')
        assert np.linalg.norm(oxygen - carbon) == pytest.approx(reference.get_distance(0, 1))
    cosines = np.array(axes)[:, 2]
    assert abs(cosines.mean()) < 4 / np.sqrt(3 * 24)
    flipped = generate(adsorption(molecules=['CO'], orientation='flipped')).seeds[0].atoms
    upright = generate(adsorption(molecules=['CO'], orientation='upright')).seeds[0].atoms
    heights = [a.positions[a.symbols == 'O'][0, 2] - a.positions[a.symbols == 'C'][0, 2] for a in (flipped, upright)]
    assert heights[0] == pytest.approx(-heights[1])


def test_coverage_counts_molecules_per_surface_atom(generate):
    entry = adsorption(molecules=['O'], coverage=0.25, n_seeds=3)
    for seed in generate(entry, cutoff_A=5.0).seeds:
        top = 25  # 5 x 5 cells of one atom
        assert seed.record['n_molecules'] == np.sum(seed.atoms.symbols == 'O') == 6
        assert seed.record['coverage'] == 6 / top


def test_more_molecules_than_fit_are_refused(generate):
    with pytest.raises(PhysicsViolationError, match=r'molecules C6H6 do not fit on') as caught:
        generate(adsorption(molecules=['C6H6'], n_molecules=6, n_seeds=1, validation={'max_redraws': 1}))
    assert caught.value.rule == 'coverage'


def test_a_molecule_larger_than_the_slab_has_it_repeated_or_is_refused(generate):
    entry = adsorption(molecules=['C6H6'], orientation='upright', n_seeds=1)
    (seed,) = generate(entry).seeds
    assert min(np.linalg.norm(seed.atoms.cell.array[:2], axis=1)) > 7.5
    with pytest.raises(AutopipeError, match=r'C6H6 with 3 Å around it takes 8.0 Å, the slab is 2.2 Å wide'):
        generate({**entry, 'validation': {'max_atoms': 10}})


def test_fixed_atoms_stay_fixed_and_the_vacuum_stays_as_thick(generate):
    (seed,) = generate(adsorption(molecules=['CO'], n_seeds=1, orientation='upright')).seeds
    fixed = seed.arrays()['fixed']
    assert fixed.any()
    assert not fixed[-2:].any()
    assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(15.0)


def test_molecules_come_from_files_too(generate, tmp_path):
    write(tmp_path / 'mine.xyz', [molecule('H2O'), molecule('NH3')])
    seeds = generate(adsorption(files=[str(tmp_path / 'mine.xyz')], orientation='upright', sites=['ontop'])).seeds
    found = {''.join(sorted(seed.atoms.symbols[seed.atoms.numbers < 10])) for seed in seeds}
    assert found == {'HHO', 'HHHN'}


@pytest.mark.parametrize(
    ('fields', 'sentence'),
    [
        ({}, 'give molecules or files'),
        ({'molecules': ['CH3OHH']}, 'neither a molecule of the G2 set'),
        ({'molecules': ['CO'], 'n_molecules': 2, 'coverage': 0.5}, 'give n_molecules or coverage'),
    ],
)
def test_what_cannot_be_adsorbed_is_refused(fields, sentence):
    with pytest.raises(ValidationError, match=sentence):
        AdsorptionSettings(of=SLAB, **fields)

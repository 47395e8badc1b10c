import numpy as np
import pytest
from ase.build import bulk, molecule

from aiida_mlip_autopipe.sampling.coverage.entropy import describe_by_quests, entropy_and_diversity


def rattled(symbol, amplitude, seed):
    atoms = bulk(symbol, cubic=True) * (2, 2, 2)
    atoms.rattle(amplitude, seed=seed)
    return atoms


@pytest.mark.parametrize(
    ('structures', 'entropy', 'diversity'),
    [
        ([rattled('Cu', 0.1, 3), rattled('Au', 0.2, 4)], 3.9734241707357065, 3.9950280763835626),
        ([molecule('C6H6'), molecule('CH3CH2OH')], 1.8886169373901065, 2.1971955839430874),
    ],
)
def test_the_values_agree_with_the_authors_package(structures, entropy, diversity):
    # Computed with quests 2026.2.22, with 32 neighbours within 5 Å and a bandwidth of 0.015 1/Å.
    found = entropy_and_diversity(describe_by_quests(structures))
    assert found == pytest.approx((entropy, diversity), abs=1e-8)


def test_the_entropy_is_zero_for_identical_environments_and_the_logarithm_of_their_number_for_different_ones():
    assert entropy_and_diversity(np.zeros((5, 3))) == pytest.approx((0, 0))
    assert entropy_and_diversity(np.diag([1.0, 2.0, 3.0, 4.0])) == pytest.approx((np.log(4), np.log(4)))


def test_copies_and_rotations_do_not_change_the_diversity():
    structure = rattled('Cu', 0.1, 3)
    rotated = structure.copy()
    rotated.rotate(40, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(describe_by_quests([rotated]), describe_by_quests([structure]), atol=1e-9)
    one = entropy_and_diversity(describe_by_quests([structure]))
    assert entropy_and_diversity(describe_by_quests([structure, rotated])) == pytest.approx(one, abs=1e-6)


def test_a_part_of_the_environments_is_evenly_spaced():
    structures = [rattled('Cu', 0.1, 3), molecule('C6H6'), rattled('Au', 0.2, 4)]
    complete = describe_by_quests(structures)
    for n in (1, 7, len(complete), 1000):
        places = np.linspace(0, len(complete) - 1, min(n, len(complete))).astype(np.int64)
        np.testing.assert_array_equal(describe_by_quests(structures, n), complete[places])

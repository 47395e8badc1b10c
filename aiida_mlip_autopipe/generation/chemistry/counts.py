"""Whole numbers of atoms or molecules for a neutral composition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.chemistry.elements import nearest_counts
from aiida_mlip_autopipe.generation.report import add_note

# Two compositions are the same if no fraction differs by more than this.
SAME_FRACTION = 1e-3
MAX_TOTAL = 1000
CHARGE_TOLERANCE = 1e-6  # e
REPORTED_DEVIATION = 0.02  # relative; a larger deviation of a fraction from the requested one is reported


def smallest_counts(fractions: Mapping[str, float]) -> dict[str, int]:
    """Return the smallest whole numbers with a composition, such as Si 1 O 2 for 0.333 and 0.667."""
    for total in range(len(fractions), MAX_TOTAL):
        counts = nearest_counts(dict(fractions), total)
        if all(abs(counts[name] / total - fraction) <= SAME_FRACTION for name, fraction in fractions.items()):
            return counts
    return nearest_counts(dict(fractions), MAX_TOTAL)


def choose_counts(
    fractions: Mapping[str, float], totals: Iterable[int], tolerance: float, charges: Mapping[str, float], of: str
) -> dict[str, int]:
    """Return the number of each constituent for the first possible total number.

    Parameters
    ----------
    fractions
        Fraction of each constituent. Their sum is 1.
    totals
        The total numbers to try, in this order.
    tolerance
        Maximum relative deviation of a fraction.
    charges
        Charge of one atom or molecule of each constituent, in e. The total charge must be zero. Constituents without a
        charge are neutral.
    of
        Name of what is counted, for the message.

    Raises
    ------
    AutopipeError
        If no total is possible. The message contains the composition with the smallest deviation.
    """
    nearest: tuple[float, dict[str, int]] | None = None
    tried: list[int] = []
    for total in totals:
        tried.append(total)
        counts = nearest_counts(dict(fractions), total)
        if abs(sum(count * charges.get(name, 0.0) for name, count in counts.items())) > CHARGE_TOLERANCE:
            continue
        deviation = max(abs(counts[name] / total - fraction) / fraction for name, fraction in fractions.items())
        if deviation <= tolerance and all(counts.values()):
            if deviation > REPORTED_DEVIATION:
                realised = _as_text({name: count / total for name, count in counts.items()})
                add_note(f'{total} {of} have the composition {realised} instead of {_as_text(fractions)}')
            return counts
        if nearest is None or deviation < nearest[0]:
            nearest = deviation, counts
    wanted = _as_text(fractions)
    if len(tried) == 1:
        sizes = counted(tried[0], of.removesuffix('s'))
    else:
        sizes = f'{tried[0]} to {tried[-1]} {of}' if tried else f'the allowed number of {of}'
    closest = ' '.join(f'{name} {count}' for name, count in nearest[1].items()) if nearest else ''
    raise AutopipeError(
        Code.COMPOSITION_IMPOSSIBLE,
        f'{sizes} cannot have the composition {wanted} within {tolerance:g} (relative)'
        + (f'; the nearest neutral composition is {closest}' if nearest else ' and be neutral'),
    )


def _as_text(fractions: Mapping[str, float]) -> str:
    return ' '.join(f'{name} {fraction:.4g}' for name, fraction in fractions.items())

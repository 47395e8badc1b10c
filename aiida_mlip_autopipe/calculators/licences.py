"""Under which licence the weights are published that made the labels. Facts with their source, no legal advice."""

from __future__ import annotations

import re
from dataclasses import dataclass

MACE_TABLE = 'https://github.com/ACEsuit/mace#pretrained-foundation-models'
ACADEMIC = 'Academic Software License (no commercial use): https://github.com/gabor1/ASL'
SEVENNET = 'MIT, as the package sevenn 0.13 that ships them; up to 0.11 it was GPL-3.0'
CHGNET = 'modified BSD of the Lawrence Berkeley National Laboratory, as the package chgnet that ships them'
NOT_KNOWN = 'not known to this program: ask who published the weights'


@dataclass(frozen=True)
class Licence:
    """Under which licence weights are published.

    Attributes
    ----------
    licence
        Its name, or that it is not known.
    source
        Where this is said; None where it is not known or there are no weights.
    """

    licence: str
    source: str | None


# Architecture, what the name of the model matches, licence, source; the first match counts. The families of MACE are
# told by the names of the files that its table links to, as it stands in mace-torch 0.3.16.
_KNOWN: tuple[tuple[str, str, str, str], ...] = (
    ('sevennet', r'7net-(0|0_22may2024|l3i5|mf-0)', SEVENNET, 'https://github.com/MDIL-SNU/SevenNet/blob/main/LICENSE'),
    (
        'chgnet',
        r'(chgnet-)?(0\.2\.0|0\.3\.0|r2scan)',
        CHGNET,
        'https://github.com/CederGroupHub/chgnet/blob/main/LICENSE',
    ),
    ('mace', r'.*(omat|matpes|omol|mace-mh-[01]).*', ACADEMIC, MACE_TABLE),
    ('mace', r'mace-off.*', ACADEMIC, 'https://github.com/ACEsuit/mace-off'),
    ('mace', r'(mace-mpa-0.*|mace-mp-0b3.*|mace[-_].*agnesi.*|.*mace-128-l[01]_.*|mace_mptrj.*)', 'MIT', MACE_TABLE),
)
NO_WEIGHTS = ('emt', 'lj')


def licence_of(architecture: str, model: str | None) -> Licence:
    """Return the licence of the weights of a model by its name.

    A file that was renamed, or trained by the user, is not known.

    Parameters
    ----------
    architecture
        As ``mace``.
    model
        The name of the shipped weights or of the file, as rows have it.
    """
    if architecture in NO_WEIGHTS:
        return Licence('there are no weights', None)
    name = (model or '').rpartition('/')[2].lower()
    for known, pattern, licence, source in _KNOWN:
        if known == architecture and re.fullmatch(pattern, name):
            return Licence(licence, source)
    return Licence(NOT_KNOWN, None)

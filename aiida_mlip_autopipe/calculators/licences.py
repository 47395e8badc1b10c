"""The licences of the models that compute labels: facts with their sources, not legal advice."""

from __future__ import annotations

import re
from dataclasses import dataclass

MACE_TABLE = 'https://github.com/ACEsuit/mace#pretrained-foundation-models'
ACADEMIC = 'Academic Software License (no commercial use): https://github.com/gabor1/ASL'
SEVENNET = 'MIT, like the package sevenn 0.13, which ships the weights (GPL-3.0 up to version 0.11)'
CHGNET = 'modified BSD (Lawrence Berkeley National Laboratory), like the package chgnet, which ships the weights'
NOT_KNOWN = 'unknown to this program: ask the publisher of the weights'


@dataclass(frozen=True)
class Licence:
    """The licence of published weights.

    Attributes
    ----------
    licence
        The name of the licence, or a note that it is unknown.
    source
        The source of this information; None if the licence is unknown or the calculator has no weights.
    """

    licence: str
    source: str | None


# Architecture, pattern of the model's name, licence, source. The first match is used. The MACE patterns follow the file
# names in the model table of mace-torch 0.3.16.
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
NO_WEIGHTS = ('emt', 'gpaw', 'lj')


def licence_of(architecture: str, model: str | None) -> Licence:
    """Return the licence of a model, looked up by its name.

    The licence of a renamed file, or of a model that the user has trained, is unknown.

    Parameters
    ----------
    architecture
        Kind of calculator, such as ``mace``.
    model
        Name of the shipped model or the file, as in dataset rows.
    """
    if architecture in NO_WEIGHTS:
        return Licence('none: the calculator has no weights', None)
    name = (model or '').rpartition('/')[2].lower()
    for known, pattern, licence, source in _KNOWN:
        if known == architecture and re.fullmatch(pattern, name):
            return Licence(licence, source)
    return Licence(NOT_KNOWN, None)

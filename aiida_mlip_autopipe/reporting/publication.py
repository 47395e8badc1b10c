"""Metadata for publishing a dataset: check that they are complete, and collect them. Nothing is uploaded.

The required fields are those that ColabFit's form for datasets, OPTIMADE's description of a database, and DataCite's
schema 4.6 (which Zenodo and the Materials Cloud Archive use) ask for and that a repository cannot add itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError, field_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.phrases import combine_faults
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.reporting.card import DatasetInfo, read_dataset_info
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.row import Row


class Author(Settings):
    """An author of a dataset."""

    name: str = Field(min_length=1)
    """Family name, given names."""
    affiliation: str | None = None
    """Institution."""
    orcid: str | None = Field(default=None, pattern=r'^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$')
    """ORCID iD, such as ``0000-0002-1825-0097``, with a correct check digit."""

    @field_validator('orcid')
    @classmethod
    def _check_digit(cls, orcid: str | None) -> str | None:
        """Refuse an iD whose last character is not that of ISO 7064, MOD 11-2."""
        if orcid is not None:
            total = 0
            for digit in orcid[:-1].replace('-', ''):
                total = 2 * (total + int(digit))
            expected = '0123456789X'[(12 - total) % 11]
            if orcid[-1] != expected:
                raise fault(Code.VALUE_INVALID, f'must end in the check digit of the other digits, {expected}')
        return orcid


class Software(Settings):
    """A program that computed labels or structures."""

    name: str = Field(min_length=1)
    """Name of the program."""
    version: str = Field(min_length=1)
    """Version."""


class PublicationFields(Settings):
    """The fields of the metadata file, which the rows do not contain."""

    title: str | None = None
    """Title of the dataset."""
    description: str | None = None
    """What the dataset contains, and what it was made for."""
    authors: tuple[Author, ...] = ()
    """Authors, in order."""
    licence: str | None = None
    """Licence of the dataset as an SPDX identifier, such as ``CC-BY-4.0``. If SPDX does not list the licence, its name
    begins with ``LicenseRef-``."""
    version: str | None = None
    """Version of the dataset, such as ``1.0.0``."""
    links: tuple[str, ...] = ()
    """Addresses of the publication, the source code or the project page."""
    functional: str | None = None
    """Exchange-correlation functional, if the rows do not contain it."""
    software: tuple[Software, ...] = ()
    """Further programs, such as the DFT code, if the rows do not contain its version."""
    doi: str | None = Field(default=None, pattern=r'^10\.\d{4,9}/\S+$')
    """DOI of the dataset, if it is already assigned."""
    keywords: tuple[str, ...] = ()
    """Keywords."""

    @field_validator('licence')
    @classmethod
    def _check_licence(cls, licence: str | None) -> str | None:
        """Return the licence in the spelling of SPDX, whose list is part of the package ``packaging``."""
        from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

        try:
            return None if licence is None else str(canonicalize_license_expression(licence))
        except InvalidLicenseExpression:
            raise fault(
                Code.CHOICE_UNKNOWN,
                'must be a licence of https://spdx.org/licenses, such as CC-BY-4.0, or begin with LicenseRef-',
            ) from None


@dataclass(frozen=True)
class MissingField:
    """A field that is missing.

    Attributes
    ----------
    name
        Name of the field in the metadata file.
    asked_by
        The standards and repositories that ask for it.
    example
        A line for the metadata file.
    """

    name: str
    asked_by: str
    example: str


@dataclass(frozen=True)
class PublicationCheck:
    """The result of a check.

    Attributes
    ----------
    missing
        The fields that are missing.
    problems
        What prevents the publication of these rows as one dataset.
    metadata
        The metadata of the dataset. They are complete if ``missing`` and ``problems`` are empty.
    """

    missing: tuple[MissingField, ...]
    problems: tuple[str, ...]
    metadata: dict[str, Any]

    @property
    def is_complete(self) -> bool:
        """Whether the dataset can be published."""
        return not self.missing and not self.problems


ALL = 'ColabFit, OPTIMADE, DataCite'
REQUIRED = (
    MissingField('title', ALL, 'title: Copper–gold crystals at 300 to 1200 K'),
    MissingField('description', ALL, 'description: Frames from molecular dynamics, chosen by farthest point sampling.'),
    MissingField('authors', 'ColabFit, DataCite', "authors: [{name: 'Curie, Marie', orcid: 0000-0002-1825-0097}]"),
    MissingField('licence', ALL, 'licence: CC-BY-4.0'),
    MissingField('version', 'DataCite', 'version: 1.0.0'),
    MissingField('links', 'ColabFit, OPTIMADE', "links: ['https://doi.org/10.1000/182']"),
)
"""The fields that every dataset needs."""
FUNCTIONAL = MissingField('functional', 'ColabFit', 'functional: PBE')
SOFTWARE = MissingField('software', 'ColabFit', 'software: [{name: VASP, version: 6.4.2}]')


def read_publication_fields(fields: Mapping[str, Any], where: str) -> PublicationFields:
    """Return the fields of a metadata file. The name of the file is ``where``.

    Raises
    ------
    AutopipeError
        If a field is unknown or invalid.
    """
    try:
        return PublicationFields.model_validate(fields)
    except ValidationError as error:
        raise combine_faults(error, PublicationFields, where) from None


def check_publication(rows: Sequence[Row], fields: Mapping[str, Any], where: str) -> PublicationCheck:
    """Check whether the metadata for publishing a dataset are complete.

    Parameters
    ----------
    rows
        The dataset.
    fields
        The content of the metadata file.
    where
        The name of this file, for error messages.

    Raises
    ------
    AutopipeError
        If a field is unknown or invalid, or the dataset has no rows.
    """
    given = read_publication_fields(fields, where)
    info = read_dataset_info(rows, given.version)
    levels = {row.level_hash: row.level for row in rows}
    known = [level for level in levels.values() if level is not None and level.method != 'unknown']
    functional = given.functional or next((one for one in map(_functional, known) if one), None)
    software = {**_software(info), **{one.name: one.version for one in given.software}}
    missing = [field for field in REQUIRED if not getattr(given, field.name)]
    has_dft = any(level.method == 'dft' for level in known)
    if has_dft and functional is None:
        missing.append(FUNCTIONAL)
    if not software or (has_dft and not given.software):
        missing.append(SOFTWARE)
    problems = []
    if len(levels) > 1:
        problems.append(f'the rows have {len(levels)} levels of theory: {", ".join(level.name for level in known)}')
    if len(known) < len(levels):
        problems.append('the level of theory of some rows is unknown')
    metadata = _collect(given, info, known, functional, software)
    return PublicationCheck(tuple(missing), tuple(problems), metadata)


def _collect(
    given: PublicationFields,
    info: DatasetInfo,
    levels: list[LevelOfTheory],
    functional: str | None,
    software: dict[str, str],
) -> dict[str, Any]:
    authors = [author.model_dump(exclude_none=True) for author in given.authors]
    names = ['energy', 'atomic forces'] + ['stress'] * ('pressure_GPa' in info.distributions)
    return {
        'title': given.title,
        'version': given.version,
        'checksum': info.checksum,
        'description': given.description,
        'authors': authors,
        'licence': given.licence,
        'licences_of_weights': list(info.licences),
        'doi': given.doi,
        'links': list(given.links),
        'keywords': list(given.keywords),
        'levels_of_theory': [{**level.model_dump(), 'hash': level.hash} for level in levels],
        'functional': functional,
        'software': [{'name': name, 'version': version} for name, version in software.items()],
        'n_structures': info.n_rows,
        'n_atoms': info.n_atoms,
        'elements': sorted(info.counts['elements']),
        'compositions': info.counts['compositions'],
        'properties': names,
        'units': {'energy': 'eV', 'atomic forces': 'eV/Å', 'stress': 'eV/Å³, negative for a compressed crystal'},
        # The names of DataCite, which a repository accepts.
        'datacite': {
            'titles': [{'title': given.title}],
            'creators': [_creator(author) for author in given.authors],
            'descriptions': [{'description': given.description, 'descriptionType': 'Abstract'}],
            'rightsList': [{'rightsIdentifier': given.licence, 'rightsIdentifierScheme': 'SPDX'}],
            'version': given.version,
            'subjects': [{'subject': keyword} for keyword in given.keywords],
            'relatedIdentifiers': [
                {'relatedIdentifier': link, 'relatedIdentifierType': 'URL', 'relationType': 'References'}
                for link in given.links
            ],
            'types': {'resourceTypeGeneral': 'Dataset'},
        },
    }


def _creator(author: Author) -> dict[str, Any]:
    creator: dict[str, Any] = {'name': author.name, 'nameType': 'Personal'}
    if author.affiliation:
        creator['affiliation'] = [{'name': author.affiliation}]
    if author.orcid:
        creator['nameIdentifiers'] = [{'nameIdentifier': author.orcid, 'nameIdentifierScheme': 'ORCID'}]
    return creator


def _functional(level: LevelOfTheory) -> str | None:
    """Return the functional of a level of theory, if its parameters name one."""
    found = level.parameters.get('functional')
    return None if found is None else str(found)


def _software(info: DatasetInfo) -> dict[str, str]:
    """Return the versions of the programs that the rows contain; several versions of one are listed together."""
    versions: dict[str, set[str]] = {}
    for software in (origin[part] for origin in info.origins for part in ('explored', 'labelled')):
        for name, key in (
            ('aiida-mlip-autopipe', 'package_version'),
            (str(software.get('architecture')), 'calculator_version'),
            ('ASE', 'ase_version'),
            ('torch', 'torch_version'),
        ):
            if software.get(key):
                versions.setdefault(name, set()).add(str(software[key]))
    return {name: ', '.join(sorted(found)) for name, found in versions.items()}

"""A query to a database of structures."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.chemistry.elements import Element, Formula

MATERIALS_PROJECT = 'materials_project'


class QuerySettings(Settings):
    """A query to a database by elements, by formula or by a filter."""

    provider: str = 'mp'
    """An OPTIMADE database, by its name in pymatgen (mp, oqmd, cod …) or by its address. `materials_project` selects
    the interface of the Materials Project, which needs a key in MP_API_KEY."""
    elements: tuple[Element, ...] = ()
    """Elements of the structures. Each structure contains all of these and no others."""
    formula: Formula | None = None
    """Reduced formula of the structures, such as Fe2O3."""
    filter: str | None = Field(default=None, min_length=1)
    """Filter in the OPTIMADE language. `materials_project` does not support filters."""
    max_structures: PositiveInt = 100
    """Maximum number of structures. A query that finds more is refused, so that results are never truncated."""

    @model_validator(mode='after')
    def _check_query(self) -> Self:
        n_criteria = sum(map(bool, (self.elements, self.formula, self.filter)))
        if n_criteria != 1:
            code = Code.VALUES_EXCLUDE if n_criteria else Code.VALUES_INCOMPLETE
            raise fault(code, 'a query needs exactly one of elements, formula and filter')
        if self.filter and self.provider == MATERIALS_PROJECT:
            raise fault(
                Code.VALUES_EXCLUDE,
                f'{MATERIALS_PROJECT} does not support filters; use provider: mp, elements or formula',
            )
        return self

    def as_record(self) -> dict[str, Any]:
        """Return the query and its provider as JSON types, for the records of the structures."""
        content = self.model_dump(mode='json', exclude_defaults=True, exclude={'max_structures'})
        return {'provider': self.provider, **content}

    @property
    def reduced_counts(self) -> dict[str, int]:
        """Number of atoms of each element in the reduced formula, by symbol."""
        from pymatgen.core import Composition

        reduced = Composition(self.formula or '').reduced_composition
        return {symbol: int(count) for symbol, count in sorted(reduced.get_el_amt_dict().items())}

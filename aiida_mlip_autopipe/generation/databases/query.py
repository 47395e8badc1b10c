"""What is asked of a database of structures."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.chemistry.elements import Element, Formula

MATERIALS_PROJECT = 'materials_project'


class QuerySettings(Settings):
    """A question to a database: by elements, by formula or by filter."""

    provider: str = 'mp'
    """An OPTIMADE database by pymatgen's name for it (mp, oqmd, cod …) or by its address, or `materials_project`: the
    Materials Project's own interface, which needs a key in MP_API_KEY."""
    elements: tuple[Element, ...] = ()
    """Structures of exactly these elements."""
    formula: Formula | None = None
    """Structures of this reduced formula, as Fe2O3."""
    filter: str | None = Field(default=None, min_length=1)
    """A filter in OPTIMADE's language; `materials_project` takes none."""
    max_structures: PositiveInt = 100
    """A query that finds more is refused, so that no part of an answer is taken by chance."""

    @model_validator(mode='after')
    def _check_question(self) -> Self:
        n_given = sum(map(bool, (self.elements, self.formula, self.filter)))
        if n_given != 1:
            code = Code.VALUES_EXCLUDE if n_given else Code.VALUES_INCOMPLETE
            raise fault(code, 'a query needs one of elements, formula and filter')
        if self.filter and self.provider == MATERIALS_PROJECT:
            raise fault(
                Code.VALUES_EXCLUDE, f'{MATERIALS_PROJECT} takes elements or a formula; the provider mp takes a filter'
            )
        return self

    def question(self) -> dict[str, Any]:
        """Return what is asked and whom, JSON only, for the record of a structure that was found."""
        content = self.model_dump(mode='json', exclude_defaults=True, exclude={'max_structures'})
        return {'provider': self.provider, **content}

    @property
    def reduced_counts(self) -> dict[str, int]:
        """The atoms of each element in the reduced formula, by symbol."""
        from pymatgen.core import Composition

        reduced = Composition(self.formula or '').reduced_composition
        return {symbol: int(count) for symbol, count in sorted(reduced.get_el_amt_dict().items())}

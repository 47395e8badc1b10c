"""Generation: from settings to seeds.

The names of this package are imported when they are first used. The generators take half a second to import, and the
commands that only read campaigns need none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiida_mlip_autopipe.generation.answers import answer_queries
    from aiida_mlip_autopipe.generation.base import (
        GENERATORS,
        Generator,
        GeneratorSettings,
        Parent,
        Requirements,
        dump_entries,
        read_entries,
    )
    from aiida_mlip_autopipe.generation.few_atoms import complete_elements
    from aiida_mlip_autopipe.generation.generate import (
        STAGE_VERSION,
        GenerationResult,
        check_entry,
        count_seeds,
        generate_seeds,
        iterate_seeds,
    )
    from aiida_mlip_autopipe.generation.limits import TimeLimitError, progress_shown, time_limit
    from aiida_mlip_autopipe.generation.parallel import iterate_seeds_in_processes
    from aiida_mlip_autopipe.generation.perturb import PerturbSettings
    from aiida_mlip_autopipe.generation.report import Rejections, describe_losses, find_empty_entry, merge_reports
    from aiida_mlip_autopipe.generation.validation import ValidationSettings
    from aiida_mlip_autopipe.structures.duplicates import Fingerprints

__all__ = [
    'GENERATORS',
    'STAGE_VERSION',
    'Fingerprints',
    'GenerationResult',
    'Generator',
    'GeneratorSettings',
    'Parent',
    'PerturbSettings',
    'Rejections',
    'Requirements',
    'TimeLimitError',
    'ValidationSettings',
    'answer_queries',
    'check_entry',
    'complete_elements',
    'count_seeds',
    'describe_losses',
    'dump_entries',
    'find_empty_entry',
    'generate_seeds',
    'iterate_seeds',
    'iterate_seeds_in_processes',
    'merge_reports',
    'progress_shown',
    'read_entries',
    'time_limit',
]

_MODULES = {
    'GENERATORS': 'generation.base',
    'STAGE_VERSION': 'generation.generate',
    'Fingerprints': 'structures.duplicates',
    'GenerationResult': 'generation.generate',
    'Generator': 'generation.base',
    'GeneratorSettings': 'generation.base',
    'Parent': 'generation.base',
    'PerturbSettings': 'generation.perturb',
    'Rejections': 'generation.report',
    'Requirements': 'generation.base',
    'TimeLimitError': 'generation.limits',
    'ValidationSettings': 'generation.validation',
    'answer_queries': 'generation.answers',
    'check_entry': 'generation.generate',
    'complete_elements': 'generation.few_atoms',
    'count_seeds': 'generation.generate',
    'describe_losses': 'generation.report',
    'dump_entries': 'generation.base',
    'find_empty_entry': 'generation.report',
    'generate_seeds': 'generation.generate',
    'iterate_seeds': 'generation.generate',
    'iterate_seeds_in_processes': 'generation.parallel',
    'merge_reports': 'generation.report',
    'progress_shown': 'generation.limits',
    'read_entries': 'generation.base',
    'time_limit': 'generation.limits',
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'aiida_mlip_autopipe.{_MODULES[name]}'), name)


def __dir__() -> list[str]:
    return __all__

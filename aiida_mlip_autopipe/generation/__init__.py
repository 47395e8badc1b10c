"""Generation: from settings to seeds."""

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

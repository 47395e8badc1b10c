"""Submit a campaign from its config: ``verdi run workchains/02_dataset_from_yaml.py FILE [key=value ...]``.

The script does the same as ``mlip-autopipe run FILE --detach``, with the tools of AiiDA. The daemon must be running
(``verdi daemon start``).
"""

import sys

from aiida.engine import submit

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain


def main() -> None:
    """Submit the campaign and print how to follow it."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        campaign = submit(DatasetWorkChain.get_builder_from_config(sys.argv[1], sys.argv[2:]))
    except AutopipeError as error:
        sys.exit(str(error))
    print(f'submitted DatasetWorkChain<{campaign.pk}>')
    print(f'verdi process status {campaign.pk}')


if __name__ == '__main__':
    main()

"""Run a small campaign in a temporary AiiDA profile and draw its graph: ``python docs/draw_campaign_graph.py``.

It writes ``docs/topics/campaign_graph.svg`` for the architecture page and requires ``dot`` of Graphviz.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).parent / 'topics' / 'campaign_graph.svg'
CONFIG = """\
name: graph
generation:
  - {kind: alloy, composition: {Cu: 1.0}, n_atoms: 8, n_seeds: 1, validation: {cell: as_given}}
calculator: {kind: emt}
exploration: {temperature_K: 300, n_steps: 10, frame_interval: 5}
sampling: {kind: random, n_structures: 2}
"""


def main() -> None:
    """Run the campaign and draw its graph."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ['AIIDA_PATH'] = folder
        draw(run_campaign(Path(folder)), OUTPUT)


def run_campaign(folder: Path) -> Any:
    """Run a campaign with one seed in this process and return its node."""
    from aiida.engine import run_get_node

    from aiida_mlip_autopipe.installation.codes import ensure_code, ensure_computer
    from aiida_mlip_autopipe.installation.profile import ensure_profile
    from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

    ensure_profile(None)
    ensure_code(ensure_computer()[0], 'emt')
    config = folder / 'graph.yaml'
    config.write_text(CONFIG, encoding='utf-8')
    campaign = run_get_node(DatasetWorkChain.get_builder_from_config(config))[1]
    assert campaign.is_finished_ok, campaign.exit_message
    return campaign


def draw(campaign: Any, path: Path) -> None:
    """Draw the provenance of the dataset: calculations with their inputs and outputs, without work chains."""
    from aiida.tools.visualization import Graph

    graph = Graph(graph_attr={'rankdir': 'TB', 'ranksep': '0.35', 'nodesep': '0.08'}, node_id_type='label')
    links = ('create', 'input_calc')
    graph.recurse_ancestors(
        campaign.outputs.dataset, link_types=links, include_process_outputs=True, annotate_links='label'
    )
    # Comments of dot contain its version, which depends on the machine.
    svg = re.sub(r'<!--.*?-->\n?', '', graph.graphviz.pipe(format='svg').decode(), flags=re.DOTALL)
    path.write_text(svg, encoding='utf-8')


if __name__ == '__main__':
    main()

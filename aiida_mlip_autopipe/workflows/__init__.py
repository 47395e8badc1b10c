"""The work chains: `DatasetWorkChain` runs all stages of a campaign, and `ExplorationWorkChain` explores one seed."""

"""The work chains: `DatasetWorkChain` runs all stages of a campaign, `ExplorationWorkChain` explores one seed."""

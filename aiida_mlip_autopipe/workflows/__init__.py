"""The work chains: `DatasetWorkChain` knows the order of the stages, `ExplorationWorkChain` looks after one seed."""

"""One AiiDA calculation a stage: it unpacks nodes, calls one function of the stage, and packs."""

"""The AiiDA calculations of the stages: each unpacks nodes, calls one function of its stage, and packs the result."""

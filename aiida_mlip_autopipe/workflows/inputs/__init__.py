"""The inputs of a campaign: its codes, models, environments and reference dataset."""

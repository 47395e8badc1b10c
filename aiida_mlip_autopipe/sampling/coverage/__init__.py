"""How well a selection covers what there was to choose from."""

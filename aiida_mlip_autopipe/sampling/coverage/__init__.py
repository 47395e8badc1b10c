"""How well a selection covers its candidates."""

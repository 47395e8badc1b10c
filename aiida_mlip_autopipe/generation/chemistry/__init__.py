"""Elements, oxidation states and the compensation of charges."""

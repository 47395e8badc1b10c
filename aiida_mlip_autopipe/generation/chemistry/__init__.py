"""Elements, oxidation states and the charges that defects leave."""

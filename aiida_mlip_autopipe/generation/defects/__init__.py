"""Sites and shapes of point defects and dislocations."""

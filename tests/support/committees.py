"""A committee for copper: effective medium theory and a Lennard-Jones potential."""

LJ = {'kind': 'lj', 'epsilon_eV': 0.41, 'sigma_A': 2.34, 'cutoff_A': 6.0}
COPPER = {'kind': 'committee', 'members': [{'kind': 'emt'}, LJ]}

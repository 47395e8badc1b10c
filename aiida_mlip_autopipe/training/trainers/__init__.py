"""Config files for the trainers of MACE and SevenNet. Each trainer has a module."""

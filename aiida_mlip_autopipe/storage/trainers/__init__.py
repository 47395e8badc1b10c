"""Config files for the trainers of MACE and SevenNet."""

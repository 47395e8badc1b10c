"""What circulates between the stages: seeds, trajectories and rows, and what tells two structures apart."""

"""Assessment of models: what rounds need to know about a model, computed in a job, and what follows from it."""

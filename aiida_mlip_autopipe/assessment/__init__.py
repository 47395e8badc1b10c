"""Assessment of models: the job that evaluates a model for rounds, and the decision whether the model is used."""

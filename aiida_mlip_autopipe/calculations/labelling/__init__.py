"""The parts of a labelling run: which rows are labelled, which labels are kept, and the labelled dataset."""

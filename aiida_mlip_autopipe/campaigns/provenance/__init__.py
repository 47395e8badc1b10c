"""The origin of the rows of a dataset in the graph, and archives of campaigns."""

"""A small synthetic action data set in which the order in time decides the class."""

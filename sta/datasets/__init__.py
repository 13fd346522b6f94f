"""Data: index-exact samplers, views, lists of videos, and the embedded motion data set."""

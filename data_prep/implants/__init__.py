"""Artificial calcifications: shapes, places, and the files of an implanted data set."""

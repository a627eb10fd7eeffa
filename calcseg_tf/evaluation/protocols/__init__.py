"""What counts as found and what as a false alarm: the three protocols under which results are compared."""

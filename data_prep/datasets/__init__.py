"""One reader per data set, each yielding the same `Case`s."""

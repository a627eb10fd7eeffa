"""What a set of records holds: the figures, tables and pictures of `data_prep.describe`."""

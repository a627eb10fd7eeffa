"""The model as a SavedModel for TF Serving."""

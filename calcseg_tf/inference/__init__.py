"""Exact full-resolution prediction in bounded memory."""

"""Nets that say what is on a picture."""

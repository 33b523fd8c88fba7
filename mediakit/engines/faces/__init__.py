"""Faces: found, brought into the square that nets know, restored, and put back."""

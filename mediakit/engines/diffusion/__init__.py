"""Text-to-image diffusion models: one set of loaded weights makes, restyles and repaints."""

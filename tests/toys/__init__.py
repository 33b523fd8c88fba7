"""A task that needs no model, and a shell to run the whole command line over it many times."""

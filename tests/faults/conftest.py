from toys.fixtures import shell, zygote

__all__ = ["shell", "zygote"]

"""Where torch puts tensors on the CPU, settled before an engine imports it."""

import os

# Large ones in pages of 2 MiB, where Linux has them (c10/core/impl/alloc_cpu.cpp): each layer's
# result is new memory, and the page faults of 4 KiB pages were 15 to 20 % of a net's CPU time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

"""Each test process computes with one thread: several of them share the machine."""

import os

from search_space.optional import QUIET

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(QUIET)

"""Each test process computes with one thread: several of them share the machine."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

"""Instructions and cache misses of kernels on ARM cores: how they are measured and predicted.

``python -m latency_models.counting`` measures a designed set of kernels under emulation and writes
the tables of ``counts/``; the search needs neither the emulator nor these tables.
"""

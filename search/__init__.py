"""The condensed-architecture search harness."""

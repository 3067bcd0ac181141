"""The table of what was trained: accuracy with its spread, costs, predicted milliseconds.

python -m benchmarks.cifar.table
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.cifar.plan import DEVICE, NETWORKS
from benchmarks.cifar.train import trained
from latency_models import predict
from results.markdown import markdown_table
from search_space import NetworkSpec, format_count

HEADER = ("network", "test accuracy (%)", "n", "MACs", "params", f"time on {DEVICE}")


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    print(table())


def table() -> str:
    """Markdown, the most accurate network first."""
    lines = []
    for rows in trained().values():
        row = rows[0]
        accuracies = [100 * row.top1 for row in rows]
        mean = statistics.mean(accuracies)
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(rows) > 1 else ""
        time = predict(NetworkSpec.load(NETWORKS / f"{row.network}.yaml"), DEVICE)
        doubts = "?" * bool(time.unpriced or time.extrapolated)
        costs = (format_count(row.macs), format_count(row.params), f"{time}{doubts}")
        lines.append((mean, (f"`{row.network}`", f"{mean:.2f}{spread}", str(len(rows)), *costs)))
    lines.sort(reverse=True)
    return markdown_table(HEADER, [line for _, line in lines], "lrrrrr")


if __name__ == "__main__":
    main()

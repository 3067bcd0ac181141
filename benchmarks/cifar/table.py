"""The table of what was trained: accuracy with its spread, costs, predicted milliseconds.

python -m benchmarks.cifar.table
"""

from __future__ import annotations

import argparse
import statistics
from itertools import groupby

from benchmarks.cifar.jobs import rows_of
from benchmarks.cifar.plan import DEVICE, EPOCHS, NETWORKS, TRAINED
from benchmarks.cifar.train import TrainedRow
from latency_models import predict
from results.markdown import markdown_table
from search_space import NetworkSpec, format_count

HEADER = ("network", "test accuracy (%)", "n", "MACs", "params", f"time on {DEVICE}")


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    print(table())


def table() -> str:
    """Markdown, the most accurate network first."""
    rows = [row for row in rows_of(TRAINED, TrainedRow) if row.epochs == EPOCHS]
    rows.sort(key=lambda row: (row.network, row.id, row.seed))
    lines = []
    for (name, id_), group in groupby(rows, key=lambda row: (row.network, row.id)):
        trained = list(group)
        spec = NetworkSpec.load(NETWORKS / f"{name}.yaml")
        if spec.id != id_:
            continue  # found by an earlier search
        accuracies = [100 * row.top1 for row in trained]
        mean = statistics.mean(accuracies)
        spread = f" ± {statistics.stdev(accuracies):.2f}" if len(trained) > 1 else ""
        row = trained[0]
        costs = (format_count(row.macs), format_count(row.params), str(predict(spec, DEVICE)))
        lines.append((mean, (f"`{name}`", f"{mean:.2f}{spread}", str(len(trained)), *costs)))
    lines.sort(reverse=True)
    return markdown_table(HEADER, [line for _, line in lines], "lrrrrr")


if __name__ == "__main__":
    main()

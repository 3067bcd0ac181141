"""What happened: trial records, the study, the Pareto front, the files of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from results.folder import RunFolder
from search.cli import main
from search_space import SPACES, ZOO, NetworkSpec, SearchSpace, macs

BUDGET = 1_000_000


def test_run_leaves_what_people_take_away(finished_run: Path) -> None:
    best = NetworkSpec.load(finished_run / "best" / "architecture.yaml")
    assert macs(best) <= BUDGET
    front = pd.read_csv(finished_run / "pareto.csv")
    assert {"accuracy", "macs", "params", "latency_ms"} <= set(front.columns)
    assert best.id in set(front["architecture"])
    assert front["accuracy"].is_monotonic_increasing
    assert len(pd.read_csv(finished_run / "trials.csv")) == 4


def test_optuna_reads_the_study_and_every_trial_keeps_the_budget(finished_run: Path) -> None:
    study = optuna.load_study(
        study_name=finished_run.name, storage=f"sqlite:///{finished_run / 'study.db'}"
    )
    assert len(study.trials) == 4
    for trial in study.trials:
        assert trial.state == optuna.trial.TrialState.COMPLETE
        assert trial.user_attrs["macs"] <= BUDGET
        spec = NetworkSpec.from_json(trial.user_attrs["spec"])
        assert macs(spec) == trial.user_attrs["macs"]
        assert spec.image_size == 32, "costs are those of the target, not of the proxy"
    assert study.user_attrs["rejected"] == {}, "the default searcher proposes nothing outside"


def test_same_seed_gives_the_same_trials(
    finished_run: Path, search_arguments: list[str], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    assert main([*search_arguments, "--trials", "4", "--out", str(again)]) == 0
    columns = ["architecture", "accuracy", "loss", "macs", "latency_ms"]
    one, two = (pd.read_csv(d / "trials.csv")[columns] for d in (finished_run, again))
    pd.testing.assert_frame_equal(one, two)


def test_another_seed_gives_other_trials(
    finished_run: Path, search_arguments: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    arguments = [*search_arguments, "--trials", "4", "--out", str(other), "--seed", "1"]
    assert main(arguments) == 0
    one, two = (set(pd.read_csv(d / "trials.csv")["architecture"]) for d in (finished_run, other))
    assert one != two


def test_latency_is_a_second_hard_limit(
    search_json: Callable[..., Any], search_arguments: list[str], tmp_path: Path
) -> None:
    limited = ("--latency", "0.9ms", "--searcher", "random")
    found = search_json(*search_arguments, "--trials", "3", "--out", str(tmp_path / "r"), *limited)
    assert found["complete"] == 3
    assert found["rejected"]["latency_ms"] > 0
    for trial in RunFolder.open(tmp_path / "r").study().trials():
        assert trial.estimate.latency_ms <= 0.9
        assert trial.estimate.macs <= BUDGET


def test_resume_goes_beyond(
    search_json: Callable[..., Any], search_arguments: list[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "r")
    first = search_json(*search_arguments, "--trials", "1", "--out", out)
    more = search_json("resume", out, "--trials", "3")
    assert (first["complete"], more["complete"]) == (1, 3)
    assert search_json("resume", out)["complete"] == 3, "what was asked for is there already"


def test_a_timeout_begins_no_further_training(
    search_json: Callable[..., Any], search_arguments: list[str], tmp_path: Path
) -> None:
    found = search_json(
        *search_arguments, "--trials", "9", "--timeout", "1ms", "--out", str(tmp_path / "r")
    )
    assert (found["complete"], found["best"], found["pareto"]) == (0, None, [])


def test_an_exhausted_space_ends_the_run(search_json: Callable[..., Any], tmp_path: Path) -> None:
    four = SearchSpace(
        name="four",
        image_size=32,
        classes=10,
        stem_strides=(1,),
        depths=((1,), (1,)),
        growth_rates=((4,), (4,)),
        groups=(4,),
        condense_factors=(2, 4),
        sparse_factors=(1,),
        sfr=("none",),
        fetches=("dense",),
        transitions=("pool",),
        blocks=(1,),
    )
    path = tmp_path / "four.yaml"
    path.write_text(json.dumps(four.to_dict()), encoding="utf-8")
    found = search_json(
        *("run", "--space", str(path), "--trials", "9", "--epochs", "1"),
        *("--resolution", "8", "--out", str(tmp_path / "r")),
    )
    assert found["complete"] == four.volume == 4


def test_cost_prints_the_papers_figures(search_json: Callable[..., Any]) -> None:
    found = search_json("cost", "condensenetv2-b")
    assert (found["macs"], found["params"]) == (140_468_656, 3_592_662)
    assert found["paper_flops"] == 146_469_057
    assert found["latency"]["low_ms"] < found["latency"]["ms"] < found["latency"]["high_ms"]


@pytest.mark.parametrize("name", ["condensenet-86", "condensenetv2-a"])
def test_cost_check_builds_and_counts(search_json: Callable[..., Any], name: str) -> None:
    found = search_json("cost", name, "--check")
    assert found["fvcore_macs"] == found["macs"]


def test_cost_reads_what_a_run_exported(
    search_json: Callable[..., Any], finished_run: Path
) -> None:
    from_folder = search_json("cost", str(finished_run))
    from_file = search_json("cost", str(finished_run / "best" / "architecture.yaml"))
    assert from_folder["id"] == from_file["id"]
    assert from_file["macs"] <= BUDGET


def test_cost_table_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "condensenet-86"]) == 0
    shown = capsys.readouterr().out
    assert "62,381,888 MACs, 520,202 parameters" in shown
    assert "65,816,394 FLOPs" in shown
    for part in ("stem", "stage1", "transition1", "stage3", "head"):
        assert part in shown


def test_models_lists_the_zoo(search_json: Callable[..., Any]) -> None:
    assert [row["name"] for row in search_json("models")] == list(ZOO)


def test_profile_tells_whether_a_budget_can_be_met(search_json: Callable[..., Any]) -> None:
    arguments = ("space", "profile", "--samples", "40", "--budget")
    possible = search_json(*arguments, "150M")
    impossible = search_json(*arguments, "1M")
    assert (possible["feasible"], impossible["feasible"]) == (True, False)
    assert impossible["share_inside"] == 0
    cheapest = NetworkSpec.from_dict(possible["cheapest"]["spec"])
    assert macs(cheapest) == possible["cheapest"]["macs"] < 150e6
    assert cheapest in SPACES["imagenet-224"]


def test_profile_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("space", "profile", "--samples", "9", "--budget")
    assert main([*arguments, "150M"]) == main([*arguments, "1M"]) == 0
    possible, impossible = (part.splitlines() for part in capsys.readouterr().out.split("\nspace "))
    assert "of all combinations, about" in possible[2]
    assert impossible[2].split() == ["inside", "none"]
    assert possible[3].startswith("MACs of 9 samples 0% ")


def test_an_impossible_budget_ends_at_once(
    capsys: pytest.CaptureFixture[str], search_arguments: list[str], tmp_path: Path
) -> None:
    arguments = [*search_arguments, "--budget", "1K", "--out", str(tmp_path / "r")]
    assert main(arguments) == 3
    message = capsys.readouterr().err
    assert "cheapest" in message
    assert "MACs" in message
    assert not (tmp_path / "r").exists()


BAD = {
    "budget": (["run", "--budget", "lots"], "--budget 'lots' must be a number"),
    "latency": (["run", "--latency", "-3ms"], "expected one argument"),
    "latency-unit": (["run", "--latency", "3 parsecs"], "must be a time above 0"),
    "latency-bound": (["run", "--latency-bound", "high"], "--latency-bound high needs --latency"),
    "augmentation": (["run", "--set", "augment=magic"], "unknown augmentation 'magic'; known: "),
    "setting": (["run", "--set", "widening=2"], "a recipe has no setting 'widening'; known: "),
    "recipe": (["run", "--recipe", "fast"], "known: condensenet-cifar"),
    "retrain": (["run", "--retrain", "0"], "--retrain 0 must be at least 1"),
    "retrain-recipe": (["run", "--retrain", "1", "--retrain-recipe", "fast"], "known: condensenet"),
    "space": (["run", "--space", "mars"], "known: cifar-32, cifar-32-fast, imagenet-224"),
    "space-file": (["run", "--space", "none.yaml"], "none.yaml: cannot be read"),
    "searcher": (["run", "--searcher", "magic"], "optuna:gp, "),
    "data": (["run", "--data", "mnist"], "known: cifar10"),
    "data-folder": (["run", "--data", "folder:/does/not/exist"], "looks for PATH/train/CLASS"),
    "device": (["run", "--device", "toaster"], "search latency devices"),
    "trials": (["run", "--trials", "0"], "`trials` (=0) must be at least 1"),
    "trials-text": (["run", "--trials", "many"], "invalid int value"),
    "epochs": (["run", "--epochs", "0"], "`epochs` (=0) must be a whole number of at least 1"),
    "seed": (["run", "--seed", "-1"], "`seed` (=-1) must be at least 0"),
    "rate": (["run", "--learning-rate", "nan"], "`learning_rate` (=nan) must be positive"),
    "timeout": (["run", "--timeout", "soon"], "--timeout 'soon' must be a time"),
    "resolution": (["run", "--resolution", "8"], "`resolution` (=8) is too small"),
    "rungs": (["run", "--rungs", "6,2"], "`rungs` (=6@32,2@32) must begin with the cheapest"),
    "rungs-text": (["run", "--rungs", "few"], "2,6 or 1@16,3@32,9@32"),
    "rungs-resolution": (["run", "--rungs", "1@8,1@32"], "`resolution` (=8) is too small"),
    "rungs-epochs": (["run", "--rungs", "2,6", "--epochs", "3"], "both set the epochs; leave one"),
    "keep": (["run", "--rungs", "2,6", "--keep", "1"], "`keep` (=1) must be at least 2"),
    "keep-alone": (["run", "--keep", "2"], "--keep 2 needs --rungs, such as 2,6"),
    "begin-with": (["run", "--begin-with", "magic"], "unknown network 'magic'"),
    "begin-outside": (
        ["run", "--budget", "30M", "--begin-with", "condensenetv2-a"],
        "--begin-with condensenetv2-a must be inside the limits: its `macs` is 1.438 times what",
    ),
    "begin-elsewhere": (
        ["run", "--begin-with", "condensenet-86"],
        "--begin-with condensenet-86 must be of the space imagenet-224: the network has 3 stages",
    ),
    "status": (["status", "no-such-run"], "holds no run"),
    "classes": (["run", "--classes", "0"], "`classes` (=0) must be"),
    "storage": (["run", "--storage", "nonsense"], "must be a URL such as"),
    "resume": (["resume", "no-such-run"], "holds no run"),
    "cost": (["cost", "condensenet_50"], "did you mean condensenet-50"),
    "cost-other-file": (["cost", __file__], "test_cli.py is not a .yaml or .json file"),
    "cost-folder": (["cost", "."], "holds no run and no architecture.yaml"),
    "cost-file": (["cost", "missing.yaml"], "missing.yaml: cannot be read"),
    "convention": (["cost", "condensenet-86", "--convention", "x"], "known: condensenet"),
    "dashboard": (["dashboard", "no-such-run"], "holds no run"),
    "samples": (["space", "profile", "--samples", "0"], "--samples 0 must be at least 1"),
    "command": (["fly"], "invalid choice"),
    "nothing": ([], "required"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_input_is_a_sentence_and_exit_code_2(
    case: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, sentence = BAD[case]
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse's own way
        code = int(end.code or 0)
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "runs").exists(), "bad input leaves no run behind"


def test_a_run_is_not_overwritten(
    capsys: pytest.CaptureFixture[str], search_arguments: list[str], finished_run: Path
) -> None:
    before = (finished_run / "trials.csv").read_bytes()
    assert main([*search_arguments, "--trials", "1", "--out", str(finished_run)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (finished_run / "trials.csv").read_bytes() == before


def test_a_broken_spec_file_says_field_value_and_rule(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = ZOO["condensenet-86"].to_yaml().replace("growth_rate: 16", "growth_rate: 6")
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["cost", str(path)]) == 2
    message = capsys.readouterr().err
    assert "stage 2: `growth_rate` (=6) must be divisible by `groups_3x3` (=4)" in message


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from search.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'optuna', 'pandas', 'sklearn', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "COMMAND" in done.stdout


def test_a_price_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from search.cli import main\n"
        "code = main(['cost', 'condensenet-50'])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "authors' counter" in done.stdout


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m search cost condensenet-c --json | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr

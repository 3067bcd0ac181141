"""Numbers and names on the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

RUN = ["run", "--space", "SPACE", "--out", "out", "--trials", "1"]
TRAIN = ["train", "NET", "--recipe", "quick", "--epochs", "1", "--out", "out"]
SWEEP = ["sweep", "NET", "--recipe", "quick", "--epochs", "1", "--out", "out"]
HUGE = "9" * 5000
BEYOND = "99999999999999999999"
NO_COUNT = ("", "0", "-1", "nan", "inf", "1e400", "many", "1_000", "٣", "150MM", "1 M M")
NO_TIME = ("", "0", "-1", "nan", "inf", "1e400", "soon", "1_0", "٣", "5 parsecs", HUGE)

BUDGETS = [
    *([*RUN, f"--budget={text}"] for text in NO_COUNT),
    ["space", "profile", "--budget", "lots"],
]


@pytest.mark.parametrize("line", BUDGETS, ids=lambda line: line[-1])
def test_a_budget_is_a_number_of_macs(line: list[str], refused: Callable[..., str]) -> None:
    value = line[-1].removeprefix("--budget=")
    refused(line, f"--budget {value!r} must be a number of at least 1, such as 150M")


@pytest.mark.parametrize("option", ["latency", "timeout"])
@pytest.mark.parametrize("text", NO_TIME, ids=lambda text: text[:10])
def test_a_time_is_above_zero_and_finite(
    option: str, text: str, refused: Callable[..., str]
) -> None:
    refused([*RUN, f"--{option}={text}"], f"--{option} {text!r} must be a time above 0")


TYPED = {
    "run": (RUN, ("trials", "seed", "epochs", "batch-size", "resolution", "classes", "retrain")),
    "train": (TRAIN, ("seed", "accumulate", "workers", "resolution")),
    "sweep": (SWEEP, ("seeds",)),
    "dashboard": (["dashboard", "run"], ("port",)),
    "retrain": (["retrain", "run"], ("top",)),
    "scores": (["scores", "run"], ("batch",)),
    "profile": (["space", "profile"], ("samples",)),
}


@pytest.mark.parametrize("text", ["many", "1.5", "1e3", ""])
@pytest.mark.parametrize(
    ("line", "option"),
    [(line, option) for line, options in TYPED.values() for option in options],
    ids=[f"{command}-{option}" for command, (_, options) in TYPED.items() for option in options],
)
def test_a_whole_number_is_one(
    line: list[str], option: str, text: str, refused: Callable[..., str]
) -> None:
    refused([*line, f"--{option}={text}"], f"--{option}", repr(text))


RANGES = {
    "trials": ([*RUN, "--trials=-1"], "`trials` (=-1) must be at least 1"),
    "trials-beyond": ([*RUN, f"--trials={BEYOND}"], f"`trials` (={BEYOND}) must be at most"),
    "seed": ([*RUN, "--seed=-1"], "`seed` (=-1) must be at least 0"),
    "seed-beyond": ([*RUN, f"--seed={BEYOND}"], f"`seed` (={BEYOND}) must be at most"),
    "epochs": ([*RUN, "--epochs=-1"], "`epochs` (=-1) must be a whole number of at least 1"),
    "epochs-beyond": ([*RUN, f"--epochs={BEYOND}"], f"`epochs` (={BEYOND}) must be", "1,000,000"),
    "batch-size": ([*RUN, "--batch-size=1"], "`batch_size` (=1) must be", "at least 2"),
    "batch-beyond": ([*RUN, f"--batch-size={BEYOND}"], f"(={BEYOND})", "at most 1,000,000"),
    "lr-zero": ([*RUN, "--lr=0"], "`learning_rate` (=0.0) must be positive"),
    "lr-inf": ([*RUN, "--lr=1e400"], "`learning_rate` (=inf) must be positive and finite"),
    "lr-text": ([*RUN, "--lr=fast"], "invalid float value: 'fast'"),
    "resolution": ([*RUN, "--resolution=0"], "`resolution` (=0) must be at least 1"),
    "resolution-beyond": ([*RUN, "--resolution=1000000"], "(=1000000)", "machine's memory"),
    "classes": ([*RUN, "--classes=-1"], "`classes` (=-1) must be a whole number"),
    "classes-beyond": ([*RUN, f"--classes={BEYOND}"], f"(={BEYOND}) must be at most 1,000,000"),
    "retrain": ([*RUN, "--retrain=-1"], "--retrain -1 must be at least 1"),
    "keep": ([*RUN, "--keep=-1"], "--keep -1 needs --rungs"),
    "rungs-empty": ([*RUN, "--rungs="], "--rungs '' must be epochs"),
    "rungs-long": ([*RUN, f"--rungs={HUGE}"], "must be epochs of each rung"),
    "rungs-zero": ([*RUN, "--rungs=0@32,1"], "`epochs` (=0) of a rung must be at least 1"),
    "rungs-pixels": ([*RUN, "--rungs=1@0,2"], "`resolution` (=0) of a rung must be at least 1"),
    "rungs-nan": ([*RUN, "--rungs=nan"], "--rungs 'nan' must be epochs"),
    "rungs-one": ([*RUN, "--rungs=3"], "`rungs` (=3@32) must be at least two"),
    "rungs-huge": ([*RUN, "--rungs=1@32,2@999999"], "(=999999)", "machine's memory"),
    "train-seed": ([*TRAIN, f"--seed={BEYOND}"], f"`seed` (={BEYOND}) must be at most"),
    "train-accumulate": ([*TRAIN, "--accumulate=0"], "`accumulate` (=0) must be at least 1"),
    "train-workers": ([*TRAIN, "--workers=-1"], "`workers` (=-1) must be at least 0"),
    "train-resolution": ([*TRAIN, "--resolution=1"], "`image_size` (=1) leaves"),
    "train-validation": ([*TRAIN, "--validation=1"], "`validation` (=1.0) must be a share"),
    "train-validation-nan": ([*TRAIN, "--validation=nan"], "`validation` (=nan) must be a share"),
    "train-devices": ([*TRAIN, "--devices=tpu"], "--devices 'tpu' must be auto, cpu, cuda"),
    "train-devices-none": ([*TRAIN, "--devices=cpu:0"], "--devices 'cpu:0' must be"),
    "train-format": ([*TRAIN, "--format=exe"], "unknown format 'exe'; known: "),
    "train-track": ([*TRAIN, "--track=diary"], "unknown tracker 'diary'; known: "),
    "train-diverges": ([*TRAIN, "--lr=1e30"], "the loss became nan", "lower --lr"),
    "seeds": ([*SWEEP, "--seeds=0"], "--seeds 0 must be at least 1"),
    "seeds-beyond": ([*SWEEP, f"--seeds={BEYOND}"], f"--seeds {BEYOND} must be at most 1,000"),
    "samples": (["space", "profile", "--samples=-1"], "--samples -1 must be at least 1"),
    "profile-seed": (["space", "profile", "--seed=-1"], "--seed -1 must be at least 0"),
    "port": (["dashboard", "run", "--port=0"], "'0' must be a whole number from 1 to 65535"),
    "port-beyond": (["dashboard", "run", "--port=65536"], "'65536'", "from 1 to 65535"),
    "port-minus": (["dashboard", "run", "--port=-1"], "'-1'", "from 1 to 65535"),
    "predict": (["latency", "predict", "NET", "--resolution=0"], "--resolution 0 must be at least"),
    "predict-beyond": (
        ["latency", "predict", "NET", f"--resolution={BEYOND}"],
        "at most 1,000,000",
    ),
}


@pytest.mark.parametrize("case", RANGES)
def test_a_number_is_in_its_range(case: str, refused: Callable[..., str]) -> None:
    line, *words = RANGES[case]
    refused(line, *words)


SETTINGS = {
    "": "--set '' must be SETTING=VALUE",
    "=1": "a recipe has no setting ''",
    "epochs": "--set 'epochs' must be SETTING=VALUE",
    "epochs=": "`epochs` (=None) must be a whole number",
    "epochs=nan": "`epochs` (=nan) must be a whole number",
    "epochs={}": "`epochs` (={}) must be a whole number",
    f"epochs={HUGE}": "`epochs` (=inf) must be a whole number",
    "epochs=[[[[": "`epochs` (='[[[[') must be a number, true, false or a list",
    "weight_decay=" + "[" * 3000: "must be a number, true, false or a list",
    "weight_decay=1e400": "`weight_decay` (=inf) must be at least 0 and finite",
    "milestones=!!python/name:os.system": "must be a number, true, false or a list",
    "milestones=2": "`milestones` (=[2]) must be shares",
    "momentum=1": "`momentum` (=1) must be between 0 and 1",
    "decay_vectors=maybe": "`decay_vectors` (='maybe') must be true or false",
    "schedule=moon": "`schedule` (='moon') must be one of cosine",
    "precision=64": "`precision` (='64') must be one of 32",
    "pruning=gentle": "`pruning` (='gentle') must be one of gradual",
    "ema_decay=1": "`ema_decay` (=1) must be in [0, 1)",
    "warmup_epochs=99": "`warmup_epochs` (=99) must be less than `epochs`",
}


@pytest.mark.parametrize("text", SETTINGS, ids=lambda text: text[:30])
def test_a_setting_is_one_of_the_recipes(text: str, refused: Callable[..., str]) -> None:
    refused([*RUN, "--set", text], SETTINGS[text])


VARIATIONS = {
    "": "--vary '' must be NAME=VALUE",
    "groups=": "--vary 'groups=' must be NAME=VALUE",
    "groups=0": "`groups_1x1` (=0) must be a whole number of at least 1",
    "groups=x": "`groups` (='x') must be a whole number",
    "groups=3": "must be divisible by `groups_1x1` (=3)",
    "wings=2": "--vary wings: nothing is called so",
    "depth=99999999": "`depth` (=99999999) must be at most 1,000",
    "depth=1-2-3": "`depth` (='1-2-3') must be one number, or one for each of 2 stages",
    "fetch=1": "`fetch_base` (=1) must be a whole number of at least 2",
    "sfr=maybe": "`sfr` (='maybe') must be on or off",
    "activation=moon": "`activation` (='moon') must be one of relu",
    "connectivity=none": "`connectivity` (='none') must be full or halved",
    "pruning=gentle": "`pruning` (='gentle') must be one of gradual",
}


@pytest.mark.parametrize("text", VARIATIONS)
def test_a_variation_makes_a_network(text: str, refused: Callable[..., str]) -> None:
    refused([*SWEEP, "--seeds", "1", "--vary", text], VARIATIONS[text])


@pytest.mark.parametrize("text", ["1", "60", "-0.1", "nan", "inf"])
def test_the_least_accuracy_is_a_fraction(text: str, refused: Callable[..., str]) -> None:
    refused([*RUN, f"--least-accuracy={text}"], "`least_accuracy` (=", "must be a fraction from 0")

import search_space


def test_the_public_names_exist_and_are_listed_in_order() -> None:
    names = search_space.__all__
    assert [name for name in names if not hasattr(search_space, name)] == []
    constants = [n for n in names if n.isupper()]
    classes = [n for n in names if n[0].isupper() and not n.isupper()]
    functions = [n for n in names if n[0].islower()]
    assert names == sorted(constants) + sorted(classes) + sorted(functions)
    assert len(set(names)) == len(names)


def test_the_public_names_are_these() -> None:
    assert set(search_space.__all__) == {
        # What a network is.
        *("NetworkSpec", "StemSpec", "TransitionSpec", "HeadSpec", "ZOO", "zoo"),
        *("BLOCKS", "DenseStage", "ResidualStage", "ShuffleStage"),
        # What may vary.
        *("SearchSpace", "Dimension", "SPACES", "space"),
        # What it costs.
        *("Cost", "cost", "macs", "parse_count", "format_count"),
        # What it is in torch.
        *("build", "create_model", "list_models"),
        # What goes wrong.
        *("UserError", "SpecError", "UnknownName", "InfeasibleBudget"),
    }

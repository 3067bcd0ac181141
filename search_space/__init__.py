"""What a network is, what may vary, what it costs in MACs.

Torch is imported only when :func:`build` or :func:`create_model` is called.
"""

from search_space.blocks import BLOCKS, DenseStage, ResidualStage, ShuffleStage
from search_space.budget import format_count, parse_count
from search_space.build import build
from search_space.cost import Cost, cost, macs
from search_space.errors import InfeasibleBudget, SpecError, UnknownName, UserError
from search_space.models import create_model, list_models
from search_space.parts import HeadSpec, StemSpec, TransitionSpec
from search_space.space import SPACES, Dimension, SearchSpace, space
from search_space.spec import NetworkSpec
from search_space.zoo import ZOO, zoo

__all__ = [
    "BLOCKS",
    "SPACES",
    "ZOO",
    "Cost",
    "DenseStage",
    "Dimension",
    "HeadSpec",
    "InfeasibleBudget",
    "NetworkSpec",
    "ResidualStage",
    "SearchSpace",
    "ShuffleStage",
    "SpecError",
    "StemSpec",
    "TransitionSpec",
    "UnknownName",
    "UserError",
    "build",
    "cost",
    "create_model",
    "format_count",
    "list_models",
    "macs",
    "parse_count",
    "space",
    "zoo",
]

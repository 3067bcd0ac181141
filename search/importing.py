"""The command ``search import``: another project's checkpoint becomes a network of ours."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from search.arguments import ARCHITECTURE, WEIGHTS, add_json, to_path
from search_space.errors import UserError

if TYPE_CHECKING:
    from results.importers import Imported

OVERRIDES = {
    "image_size": "pixels of the input",
    "stem_stride": "stride of the first convolution",
    "groups": "groups G of the learned 1x1 convolutions",
    "condense_factor": "C of the learned 1x1 convolutions",
    "sfr_groups": "groups of the reactivations",
    "sparse_factor": "S of the reactivations",
    "hard_swish_from_stage": "first stage with hard-swish; 0 for none",
    "classifier_condense_factor": "condense factor of the classifier",
}
"""What the user can say instead of the tensors and the family's convention."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "file", type=to_path, metavar="FILE", help="checkpoint: .pth, .pth.tar or .safetensors"
    )
    parser.add_argument(
        "--out", type=to_path, required=True, metavar="D", help="folder to write the network to"
    )
    parser.add_argument("--entry", help="where in the file the tensors are (default: found out)")
    for name, meaning in OVERRIDES.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, metavar="N", help=f"{meaning} (else inferred)"
        )
    add_json(parser)


def import_network(args: argparse.Namespace) -> int:
    """Reads a CondenseNet, SparseNet, DenseNet or ShuffleNetV2 checkpoint of other code."""
    from results.importers import Overrides, import_checkpoint

    said = {name: getattr(args, name) for name in OVERRIDES}
    for name, value in said.items():
        least = 0 if name == "hard_swish_from_stage" else 1
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} (={value}) must be at least {least}")
    for name in (ARCHITECTURE, WEIGHTS):
        if (args.out / name).exists():
            raise UserError(f"{args.out / name} exists already; choose another --out")
    family, imported = import_checkpoint(args.file, Overrides(**said), entry=args.entry)
    write_network(imported, args.out)
    if args.json:
        print(
            json.dumps(
                {
                    "family": family,
                    "id": imported.spec.id,
                    "form": imported.form,
                    "inferred": imported.inferred,
                    "assumed": imported.assumed,
                    "out": str(args.out),
                },
                indent=2,
            )
        )
        return 0
    print(f"{family}: {imported.spec}")
    print(f"read off the tensors: {'; '.join(imported.inferred)}")
    print(f"assumed: {'; '.join(imported.assumed) or 'nothing'}")
    print(f"wrote {args.out / ARCHITECTURE} and {args.out / WEIGHTS}")
    print(f"Next: search export {args.out} --format onnx --out {args.out}-onnx")
    return 0


def write_network(imported: Imported, folder: Path) -> None:
    """Writes architecture and weights; raises UserError where the folder cannot be written."""
    from results.folder import write_atomically
    from results.weights import save_weights
    from search_space import build

    network = build(imported.spec, imported.form)
    network.load_state_dict(imported.state_dict)
    temporary = folder / f".{WEIGHTS}.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(network, temporary)
        temporary.replace(folder / WEIGHTS)
        write_atomically(folder / ARCHITECTURE, imported.spec.to_yaml())
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be written: {error}") from None
    finally:
        if folder.is_dir():
            temporary.unlink(missing_ok=True)

"""A folder to copy to a board: networks as a runtime's files, and the script that times them.

::

    README.txt             what to do with it
    bench.py               :mod:`results.bench`, which needs nothing of this project
    kit.json               name, folder and shape of image of each network
    NETWORK/model.*        its files
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results import bench
from results.export import must_be_empty, staged
from results.formats import FORMATS, ExportOptions
from results.verify import condensed_form, random_network
from search_space.errors import UnknownName

if TYPE_CHECKING:
    from search_space import NetworkSpec

FORMAT_OF = {"onnxruntime": "onnx", "ncnn": "ncnn"}
"""The format that each runtime reads."""
SEED = 0

README = """\
A folder to copy to your board. It holds {networks} networks with random weights, which take the
time of trained ones and know nothing, and bench.py, which times them.

On the board, which needs Python 3.8 or newer:

    python3 -m pip install numpy {runtimes}
    sudo cpupower frequency-set -g performance     # or let your system keep its clock up
    python3 bench.py                               # --help tells of threads and cores

It writes measured.csv. Copy that back, and where this project is installed:

    search latency calibrate --measured measured.csv --base raspberry-pi-4/ncnn/1 \\
        --out my-board.yaml

--base names the board of `search latency devices` that is most like yours. Then --device
my-board.yaml works wherever search takes a device.

Warnings of bench.py tell where the times are not to be trusted: let the board cool, give it enough
power, end other programs, and measure again.
"""


def write_kit(specs: Mapping[str, NetworkSpec], out: Path, runtimes: Sequence[str]) -> None:
    """Writes the folder; it appears when all is written, or not at all.

    Args:
        specs: Networks by the name that the table of measurements will call them.
        out: The folder; must not exist or be empty.
        runtimes: Keys of ``FORMAT_OF``.

    Raises:
        UnknownName: a runtime is none.
        UserError: a runtime's library is missing, or the folder cannot be written.
    """
    for runtime in runtimes:
        if runtime not in FORMAT_OF:
            raise UnknownName("runtime", runtime, FORMAT_OF)
    must_be_empty(out)
    with staged(out) as folder:
        networks = [
            {
                "network": name,
                "folder": f"{i}-{re.sub('[^A-Za-z0-9.-]', '-', Path(name).name)}",
                "image": [spec.image_channels, spec.image_size, spec.image_size],
            }
            for i, (name, spec) in enumerate(specs.items(), start=1)
        ]
        for entry, spec in zip(networks, specs.values(), strict=True):
            _write_network(spec, folder / str(entry["folder"]), runtimes)
        (folder / bench.KIT).write_text(json.dumps(networks, indent=2) + "\n", encoding="utf-8")
        text = README.format(networks=len(specs), runtimes=" ".join(runtimes))
        (folder / "README.txt").write_text(text, encoding="utf-8")
        shutil.copyfile(bench.__file__, folder / "bench.py")
        folder.replace(out.resolve())


def _write_network(spec: NetworkSpec, folder: Path, runtimes: Sequence[str]) -> None:
    folder.mkdir()
    network = condensed_form(random_network(spec, SEED))
    for runtime in runtimes:
        FORMATS[FORMAT_OF[runtime]].write(network, folder, ExportOptions(exporter="direct"))

"""``search dashboard``: optuna-dashboard for a run, on this machine only."""

from __future__ import annotations

import argparse
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from search import arguments
from search_space.errors import UserError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from results.dashboard import Notes
    from results.folder import RunFolder
    from results.study import Study


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Those of the command."""
    p.add_argument(
        "run", type=arguments.to_path, metavar="RUN", help="folder that `search run` wrote"
    )
    p.add_argument("--port", type=_port, default=8080, help="default %(default)s")


def _port(text: str) -> int:
    if not (text.isdecimal() and len(text) < 6 and 0 < int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 to 65535")
    return int(text)


def dashboard(args: argparse.Namespace) -> int:
    """Serves a run's study until Ctrl-C, its notes and the winner's files kept up to date."""
    import optuna_dashboard

    from results.folder import RunFolder
    from results.storage import open_storage, quiet_optuna

    quiet_optuna()
    folder = RunFolder.open(args.run)
    study = folder.study()
    storage = open_storage(folder.storage)
    notes = _notes(folder, study, storage)
    kept: AbstractContextManager[None] = notes.kept_up_to_date() if notes else nullcontext()
    print(f"{study.name}: http://127.0.0.1:{args.port}/{study.page}  (Ctrl-C ends it)", flush=True)
    try:
        with kept:
            optuna_dashboard.run_server(
                storage,
                host="127.0.0.1",
                port=args.port,
                artifact_store=notes.store if notes else None,
            )
    except OSError as error:
        raise UserError(
            f"--port {args.port} cannot be listened on: {error}; choose another"
        ) from None
    except KeyboardInterrupt:
        pass
    return 0


def _notes(folder: RunFolder, study: Study, storage: BaseStorage) -> Notes | None:
    """What the run's trials and winner are noted with; None, and a warning, where nothing can be
    written."""
    from results.dashboard import Notes
    from results.patience import StorageFailed
    from search.config import RunConfig

    config = RunConfig.from_settings(study.settings)
    try:
        notes = Notes(folder.path, study, storage, config.limits.device.key)
        notes.write()
    except (StorageFailed, OSError) as error:
        print(f"search: shown without notes and files: {error}", file=sys.stderr)
        return None
    return notes

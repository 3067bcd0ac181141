"""What keeps the trials of this process from being taken for abandoned."""

from __future__ import annotations

import threading
from contextlib import suppress

from results.ownership import BEAT_S
from results.patience import StorageFailed
from results.study import Study


class Heart:
    """Raises the heartbeat of an owner every ``BEAT_S`` seconds, in a thread of its own."""

    def __init__(self, study: Study, owner: str) -> None:
        self._study = study
        self._owner = owner
        self._count = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):
            self.beat()

    def beat(self) -> None:
        """Once, for all trials of the owner."""
        self._count += 1
        # A storage that cannot be written to now can be at the next beat, or stops the search.
        with suppress(StorageFailed):
            self._study.beat(self._owner, self._count)

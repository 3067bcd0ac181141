"""What keeps the trials of this process from being taken for abandoned."""

from __future__ import annotations

import threading
from contextlib import suppress

from results.ownership import BEAT_S
from results.patience import StorageFailed
from results.study import Study
from results.trial import Trial


class Heart:
    """Raises the heartbeat of held trials every ``BEAT_S`` seconds, in a thread of its own."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._beats: dict[int, tuple[Trial, int]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def hold(self, trial: Trial) -> None:
        with self._lock:
            self._beats.setdefault(trial.number, (trial, trial.heartbeat))

    def let_go(self, trial: Trial) -> None:
        with self._lock:
            self._beats.pop(trial.number, None)

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):
            self.beat()

    def beat(self) -> None:
        """Once for each held trial."""
        with self._lock:
            held = list(self._beats.values())
        for trial, count in held:
            # A storage that cannot be written to now can be at the next beat, or stops the search.
            with suppress(StorageFailed):
                self._study.beat(trial, count + 1)
            with self._lock:
                if trial.number in self._beats:
                    self._beats[trial.number] = trial, count + 1

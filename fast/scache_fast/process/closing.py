"""The threads that close passed files.

Closing the last copy of a file may block. The maker of the file decides for how long. Three kinds of waits are known:

* A TCP socket with SO_LINGER waits until its peer has acknowledged everything. A signal ends that wait, and the kernel
  closes the connection in the background. A thread gets the signal after `INTERRUPT_AFTER_S`, or sooner if other
  descriptors wait behind it.
* Some closes are slow and end by themselves: a packet socket takes 14 ms, a memfd of 3 GiB takes 0.4 s.
* A file of a FUSE server that does not answer waits for ever, and no signal ends that. The same is true of a socket
  that such a file keeps locked. A thread in such a wait for `STUCK_AFTER_S` is stuck, and another thread replaces it.
  After `replacements_max` replacements, the users who passed the stuck files are refused: no more of their files is
  parked, and those that they passed stay open. The last thread then goes on for all other users.

Which thread may do what: the thread of the loop calls `close` and `collect`, the watch (stalls.py) calls `look`, and
the closing threads run `work`. A job belongs to one thread at a time.
"""

import signal
import socket
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Final

from scache_fast.engine.closing import CloseAtOnce, Farewell, Job, part_with
from scache_fast.engine.log import Log

WORKERS: Final = 2
"""How many threads close. One that lingers leaves another. Arbitrary."""

REPLACEMENTS_MAX: Final = 4
"""How many stuck threads are replaced. Arbitrary: each costs 60 kB."""

INTERRUPT_AFTER_S: Final = 0.1
INTERRUPT_AMONG_OTHERS_S: Final = 0.005
"""How long a close may take before it gets a signal: with nothing behind it, and with other descriptors waiting."""

STUCK_AFTER_S: Final = 2.0
"""How long a close may ignore signals before its thread is stuck. Arbitrary: four times the slowest close seen."""

_LAST_STUCK_AFTER_S: Final = 0.2
_LAST_REPLACEMENTS_MAX: Final = 64
"""The same when the process ends: everything else has to be closed within a second, and nobody saves any more."""

_JOIN_S: Final = 0.02
"""How often the end looks whether a thread has been replaced meanwhile. Arbitrary."""

CROWDED_MAX: Final = 1024
"""How many unwanted descriptors of one user may wait before nothing more is read from that user. Arbitrary."""


class ClosingThreads:
    """Closes in threads of its own. A `Closer` of the engine."""

    def __init__(self, log: Log, farewell: Farewell | None = None, replacements_max: int = REPLACEMENTS_MAX) -> None:
        self._log = log
        self.farewell = farewell
        self._replacements_max = replacements_max
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._finished: deque[Job | str] = deque()  # unwanted descriptors that are closed, and lines for the log
        self._waiting: dict[int, int] = {}  # unwanted descriptors by user
        self._lock = threading.Lock()  # for the four below
        self._workers: list[_Worker] = []
        self._stuck: list[_Worker] = []
        self._held: list[Job] = []
        self._is_ending = False
        self._has_threads = True
        self.refused_users: frozenset[int] = frozenset()
        self.crowded_users: frozenset[int] = frozenset()
        self.wake_watch = threading.Event()
        """Set when there may be something for the watch to look at."""
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when `collect` is to be called."""
        return self._reader.fileno()

    def start(self) -> None:
        """Start the threads; after the privileges are dropped, so that no thread hangs while they are.

        Where no thread can be started, `close` closes by itself: waiting is better than to keep everything open.
        """
        for _ in range(WORKERS):
            self._start_worker()
        self._has_threads = bool(self._workers)

    @property
    def stuck(self) -> int:
        """Return how many threads are stuck in a close."""
        return len(self._stuck)

    # The loop's thread.

    def close(self, job: Job) -> None:
        """Close what the job names, later."""
        if not self._has_threads:
            CloseAtOnce(self._log, self.farewell).close(job)
            return
        if job.is_unwanted:
            count = self._waiting[job.user] = self._waiting.get(job.user, 0) + len(job.descriptors)
            if count > CROWDED_MAX:
                self.crowded_users |= {job.user}
        if job.user in self.refused_users:
            job.is_done = True  # whoever passed it is served on, as long as there is not too much of it
            with self._lock:
                self._held.append(job)
            return
        self._jobs.put(job)

    def collect(self) -> None:
        """Take note of what was closed, and pass on what the threads have to say."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            pass  # taken in the turn before
        while self._finished:
            done = self._finished.popleft()
            if isinstance(done, str):
                self._log.warning(done)
                continue
            count = self._waiting[done.user] = self._waiting[done.user] - len(done.descriptors)
            if count <= CROWDED_MAX:
                self.crowded_users -= {done.user}
            if not count:
                del self._waiting[done.user]

    def finish(self, patience_s: float) -> bool:
        """Close what is left and end the threads; False: some are still closing when patience ends."""
        deadline_s = time.monotonic() + patience_s
        with self._lock:
            self._is_ending = True
            self.refused_users = frozenset()
            for job in self._held:
                self._jobs.put(job)
            self._held.clear()
        self.wake_watch.set()
        while (left_s := deadline_s - time.monotonic()) > 0:
            with self._lock:
                workers = [*self._workers, *self._stuck]
            if not workers:
                break
            self._jobs.put(None)
            workers[0].thread.join(min(left_s, _JOIN_S))
        self.collect()
        self._reader.close()
        self._writer.close()
        return not self._workers and not self._stuck

    # The watch's thread.

    def look(self, now_s: float) -> float | None:
        """Interrupt and replace threads that hang; return when to look again, None: nothing is being closed."""
        is_behind = self._is_ending or not self._jobs.empty()
        patience_s = INTERRUPT_AMONG_OTHERS_S if is_behind else INTERRUPT_AFTER_S
        is_busy = is_behind
        for worker in list(self._workers):
            if worker.job is None:
                continue
            is_busy = True
            if worker.step != worker.seen_step:
                worker.seen_step, worker.since_s = worker.step, now_s
            elif now_s - worker.since_s >= (_LAST_STUCK_AFTER_S if self._is_ending else STUCK_AFTER_S):
                self._replace(worker)
            elif now_s - worker.since_s >= patience_s:
                signal.pthread_kill(worker.ident, signal.SIGUSR2)
        return patience_s if is_busy else None

    def _replace(self, worker: "_Worker") -> None:
        with self._lock:
            if worker not in self._workers or worker.job is None:
                return  # It has just come back.
            self._workers.remove(worker)
            self._stuck.append(worker)
            is_last = len(self._stuck) >= (_LAST_REPLACEMENTS_MAX if self._is_ending else self._replacements_max)
            if is_last and not self._is_ending:
                self.refused_users = frozenset(each.user for each in self._stuck if each.user >= 0)
        told = f"a file that uid {worker.user} passed does not stop closing, {len(self._stuck)} are stuck"
        if is_last:
            users = ", ".join(map(str, sorted(self.refused_users)))
            told += f"; from now on nothing that these users pass is parked: {users}"
        self._tell(told)
        if len(self._stuck) <= (_LAST_REPLACEMENTS_MAX if self._is_ending else self._replacements_max):
            self._start_worker()

    # Any thread.

    def _start_worker(self) -> None:
        worker = _Worker(self)
        try:
            with self._lock:  # whoever sees it in the list may wait for its end, which takes a thread that was started
                worker.thread.start()
                self._workers.append(worker)
        except RuntimeError as error:  # RLIMIT_NPROC
            self._tell(f"cannot start another thread for closing descriptors: {error}")

    def _tell(self, line: str | Job) -> None:
        self._finished.append(line)
        self._wake_loop()

    def _wake_loop(self) -> None:
        try:
            self._writer.send(b"\0")
        except OSError:
            pass  # EAGAIN: the loop has enough to wake it; EBADF: the process ends

    # A worker's thread.

    def work(self, worker: "_Worker") -> None:
        """Carry out jobs until there is one that says to end."""
        # A thread begins with the signals blocked that were blocked when the process was started.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        worker.ident = threading.get_ident()
        while (job := self._jobs.get()) is not None:
            if job.user in self.refused_users:
                job.is_done = True
                with self._lock:
                    self._held.append(job)
                self._wake_loop()
                continue
            worker.user = job.user
            worker.job = job
            self.wake_watch.set()
            for descriptor in job.descriptors:
                worker.step += 1
                part_with(descriptor, job, self.farewell, self)
            worker.job = None
            job.is_done = True
            if job.is_unwanted:
                self._tell(job)
            with self._lock:
                is_replaced = worker in self._stuck
            if is_replaced:
                self._return(worker)
                return
        with self._lock:
            self._workers.remove(worker)

    def _return(self, worker: "_Worker") -> None:
        """Take note that a file did stop closing after all: its thread ends, and another user may be let in again."""
        with self._lock:
            self._stuck.remove(worker)
            self.refused_users &= frozenset(each.user for each in self._stuck)
            if len(self._stuck) < self._replacements_max:
                self.refused_users = frozenset()
            for job in self._held:
                self._jobs.put(job)  # whoever is still refused has them held once more
            self._held.clear()
        self._tell(f"the file that uid {worker.user} passed is closed now, {len(self._stuck)} are stuck")

    # What part_with logs to: the log itself is the loop's.

    verbose: Final = False

    def detail(self, text: str) -> None:
        """Drop a line that only a verbose log shows."""

    def info(self, text: str) -> None:
        """Pass a line on to the loop."""
        self._tell(text)

    def warning(self, text: str) -> None:
        """Pass a line on to the loop."""
        self._tell(text)


class _Worker:
    """One thread, and what it is doing."""

    def __init__(self, owner: ClosingThreads) -> None:
        self.thread = threading.Thread(target=owner.work, args=(self,), name="closing", daemon=True)
        self.ident = 0
        self.job: Job | None = None
        self.user = -1
        self.step = 0  # how many descriptors it began to close
        self.seen_step = 0  # the watch's: the step at its last look that saw a new one, and when that was
        self.since_s = 0.0

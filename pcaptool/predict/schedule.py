"""What a capture does not tell about the server's processors, as choices of a driven run, and the search for them.

Knows: that Linux allows several orders of work (an acknowledgement is processed beside a system call or within it, a
woken writer has its processor before or after the next acknowledgement), and that the frames that left tell which.
Must not know: what a choice changes in the stack.
Each choice has a usual answer. Where a frame was recorded that the model did not send, the choices just before it are
answered otherwise, one at a time, and such an answer is kept if more frames are then as recorded. Where none helps,
each takes the place of one that was kept: another order may have the same effect at first, and not later. Every answer
is an order of work that may happen on a machine with two processors; sizes, flags and numbers stay the model's.
Complexity: one run where that sends what was recorded; else at most `MOST_RUNS`, fewer for long captures.
Leaves out: choices that help only together, and none of them alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["MOST_RUNS", "Question", "Schedule", "Sent", "search"]

MOST_RUNS = 60
MOST_FRAMES = 60_000  # of all runs together
CANDIDATES = 16  # choices before a frame that is not as recorded

Question = tuple[str, int, int]  # what, of which client port, at which sequence number
Sent = tuple[
    int, int, int, int, int
]  # a data frame: client port, sequence number, length, flags, stamp echoed
Run = TypeVar("Run")


@dataclass(slots=True)
class Schedule:
    """The answers of one run.

    Parameters
    ----------
    otherwise : frozenset of Question
        Those that are not answered as usual.

    Examples
    --------
    >>> schedule = Schedule(frozenset({("answered", 40000, 1449)}))
    >>> [schedule.choose(("answered", 40000, seq), 10, usual=True) for seq in (1449, 2897)]
    [False, True]
    """

    otherwise: frozenset[Question] = frozenset()
    asked: dict[Question, int] = field(default_factory=dict)

    def choose(self, question: Question, now_ns: int, *, usual: bool) -> bool:
        """The answer to a question, and a note of when it was first asked."""
        self.asked.setdefault(question, now_ns)
        return usual != (question in self.otherwise)


@dataclass(frozen=True, slots=True)
class _Try(Generic[Run]):
    """A run that was made."""

    schedule: Schedule
    run: Run
    sent: Counter[Sent]
    alike: int


def search(
    make: Callable[[Schedule], tuple[Run, list[Sent]]],
    recorded: list[tuple[int, Sent]],
    most_runs: int = MOST_RUNS,
) -> tuple[Schedule, Run]:
    """The schedule under which a run sends most of what was recorded, and that run.

    Parameters
    ----------
    make : callable
        Makes a run, and says what it sent.
    recorded : list of (int, Sent)
        When what left.
    most_runs : int
        1 for the usual answers alone.

    Examples
    --------
    >>> def make(schedule):
    ...     waits = schedule.choose(("answered", 40000, 1), 5, usual=True)
    ...     return waits, [(40000, 1, 2896 if waits else 1448, 0x18, 0)]
    >>> schedule, waited = search(make, [(9, (40000, 1, 1448, 0x18, 0))])
    >>> waited, sorted(schedule.otherwise)
    (False, [('answered', 40000, 1)])
    """
    wanted = Counter(sent for _, sent in recorded)

    def attempt(otherwise: frozenset[Question]) -> _Try[Run]:
        schedule = Schedule(otherwise)
        run, frames = make(schedule)
        sent = Counter(frames)
        return _Try(schedule, run, sent, (sent & wanted).total())

    best = attempt(frozenset())
    left = min(most_runs - 1, MOST_FRAMES // max(1, len(recorded)))
    tried: set[frozenset[Question]] = set()
    while best.alike < len(recorded):
        fresh = _neighbours(best, recorded)
        better = None
        for otherwise in fresh:
            if otherwise in tried:
                continue
            if left <= 0:
                return best.schedule, best.run
            left -= 1
            tried.add(otherwise)
            made = attempt(otherwise)
            if made.alike > best.alike:
                better = made
                break
        if better is None:
            break
        best = better
    return best.schedule, best.run


def _neighbours(made: _Try[Run], recorded: list[tuple[int, Sent]]) -> Iterator[frozenset[Question]]:
    """Answers to try next: one more or one less, then one in another's place."""
    kept, questions = made.schedule.otherwise, list(_candidates(made, recorded))
    for question in questions:
        yield kept ^ {question}
    for answered in sorted(kept):
        for question in questions:
            if question not in kept:
                yield kept ^ {answered, question}


def _candidates(made: _Try[Run], recorded: list[tuple[int, Sent]]) -> Iterator[Question]:
    """Questions asked just before frames that were not sent as recorded, the last one first."""
    seen: set[Question] = set()
    asked = sorted(made.schedule.asked.items(), key=lambda item: item[1])
    left = made.sent.copy()
    for time_ns, sent in recorded:
        if left[sent] > 0:
            left[sent] -= 1
            continue
        before = [question for question, asked_ns in asked if asked_ns <= time_ns]
        for question in before[: -CANDIDATES - 1 : -1]:
            if question not in seen:
                seen.add(question)
                yield question

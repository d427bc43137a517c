"""What is counted of each version that answered, from the client's side."""

from __future__ import annotations


class Score:
    """Answers of one version: how many, how fast, how many of them right."""

    def __init__(self) -> None:
        self.answered = 0
        self.right = 0
        self._seconds: list[float] = []

    def add(self, seconds: float, right: bool) -> None:
        self.answered += 1
        self.right += right
        self._seconds.append(seconds)

    @property
    def accuracy(self) -> float:
        return self.right / self.answered if self.answered else 0.0

    def latency(self, share: float) -> float:
        """The latency in ms that `share` of the answers did not exceed."""
        if not self._seconds:
            return 0.0
        ordered = sorted(self._seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] * 1e3


class Scores(dict[str, Score]):
    """By version."""

    def add(self, version: str, seconds: float, right: bool) -> None:
        self.setdefault(version, Score()).add(seconds, right)

    @property
    def answered(self) -> int:
        return sum(score.answered for score in self.values())

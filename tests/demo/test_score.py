from __future__ import annotations

from gateway.demo.score import Score, Scores


def test_nothing_answered_yet() -> None:
    assert (Score().accuracy, Score().latency(0.99)) == (0.0, 0.0)


def test_accuracy_and_latency() -> None:
    scores = Scores()
    for number in range(100):
        scores.add("1", number / 1000, number % 4 != 0)
    scores.add("2", 1.0, True)
    assert scores.answered == 101
    assert scores["1"].accuracy == 0.75
    assert scores["1"].latency(0.5) == 50.0
    assert scores["1"].latency(0.99) == 99.0
    assert scores["1"].latency(1.0) == 99.0

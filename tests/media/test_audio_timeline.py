"""Silence and omissions that put frames where their times say."""

import pytest

from mediakit.media.audio_timeline import Clock


def places(clock: Clock, *frames: tuple[float | None, float]) -> list[tuple[float, float]]:
    return [
        (round(silence, 6), round(drop, 6))
        for silence, drop in (clock.place(time, seconds) for time, seconds in frames)
    ]


def test_one_behind_the_other() -> None:
    clock = Clock(0.0)
    assert places(clock, (0.0, 1.0), (1.0, 1.0), (None, 1.0), (3.0, 1.0)) == [(0, 0)] * 4
    assert clock.reached == 4


def test_a_gap_and_an_overlap() -> None:
    clock = Clock(0.0)
    assert places(clock, (0.0, 1.0), (3.0, 1.0), (3.5, 1.0), (4.5, 1.0)) == [
        (0, 0), (2, 0), (0, 0.5), (0, 0),
    ]  # fmt: skip
    assert clock.reached == 5.5


def test_what_was_heard_already_is_dropped_whole() -> None:
    clock = Clock(0.0)
    assert places(clock, (0.0, 5.0), (2.0, 1.0), (3.0, 1.0), (4.0, 2.0)) == [
        (0, 0), (0, 1), (0, 1), (0, 1),
    ]  # fmt: skip


def test_the_first_frame_is_placed_exactly() -> None:
    assert places(Clock(0.0), (0.02, 1.0)) == [(0.02, 0)]
    assert places(Clock(0.0), (-0.02, 1.0)) == [(0, 0.02)]


def test_jitter_is_passed_over_and_drift_is_not() -> None:
    clock = Clock(0.0)
    steady = [(i + (0.04 if i % 2 else 0.0), 1.0) for i in range(20)]
    assert places(clock, *steady) == [(0, 0)] * 20
    clock = Clock(0.0)
    silences = [silence for silence, _ in places(clock, *((i * 1.01, 1.0) for i in range(100)))]
    assert sum(silences) == pytest.approx(1, abs=0.06)


def test_what_is_before_the_start_is_dropped() -> None:
    clock = Clock(10.0)
    assert places(clock, (8.5, 1.0), (9.5, 1.0), (10.5, 1.0)) == [(0, 1), (0, 0.5), (0, 0)]
    assert places(Clock(10.0), (12.0, 1.0)) == [(2, 0)]


def test_a_clock_that_begins_anew() -> None:
    assert places(Clock(0.0), (0.0, 20.0), (3.0, 1.0), (4.0, 1.0)) == [(0, 0)] * 3
    broadcast = Clock(0.0, end=9000.0, broadcast=True)
    assert places(broadcast, (0.0, 1.0), (900.0, 1.0), (901.0, 1.0), (903.0, 1.0)) == [
        (0, 0), (0, 0), (0, 0), (1, 0),
    ]  # fmt: skip


def test_no_gap_is_longer_than_what_there_is() -> None:
    assert places(Clock(0.0, end=100.0), (0.0, 1.0), (90.0, 1.0)) == [(0, 0), (89, 0)]
    assert places(Clock(0.0, end=100.0), (0.0, 1.0), (1e7, 1.0), (1e7 + 1, 1.0)) == [(0, 0)] * 3
    assert places(Clock(0.0), (1e7, 1.0)) == [(0, 0)]


def test_counted_times_are_not_believed() -> None:
    clock = Clock(0.0, counted=True)
    assert places(clock, (0.0, 1.0), (50.0, 1.0), (2.0, 1.0)) == [(0, 0)] * 3

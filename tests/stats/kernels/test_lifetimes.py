import numpy as np
import pytest

from isoklx.stats.kernels.tallies import EventTimes, first_crossing

NAN = np.nan


def crossing(
    values, length=NAN, *, thresholds=(0.5,), dead=np.less, dtype="float32", offset=0, **options
):
    events = first_crossing(
        np.array(values, dtype=dtype),
        np.array(length, dtype=float),
        np.array(len(values) - 1 - offset),
        times=np.arange(len(values)),
        offset=offset,
        thresholds=thresholds,
        dead=dead,
        **options,
    )
    return events._make(each.item() if each.size == 1 else each.tolist() for each in events)


def alive_at(end):
    return EventTimes(end, died=False, recovered=False, censored=False)


def lost_at(end):
    return EventTimes(end, died=False, recovered=False, censored=True)


def dead_at(end, recovered=False):
    return EventTimes(end, died=True, recovered=recovered, censored=False)


def test_dead_from_the_first_value_below_the_threshold():
    assert crossing([0.9, 0.4, 0.3]) == dead_at(1)


def test_a_value_at_the_threshold_is_alive_in_every_dtype():
    for dtype in ("float32", "float64"):
        assert crossing([0.95, 0.95], thresholds=[0.95], dtype=dtype) == alive_at(1)


def test_a_running_maximum_reaches_a_threshold_that_it_equals():
    events = crossing([0.2, 5.0, 0.1], thresholds=[5], dead=np.greater_equal)
    assert events == dead_at(1, recovered=True)


def test_values_after_the_last_time_are_not_observed():
    assert crossing([0.9, 0.9, 0.4], length=1) == lost_at(1)
    assert crossing([0.9, 0.9, 0.4], length=2) == dead_at(2)


def test_the_last_time_may_come_before_the_length():
    assert crossing([0.9, 0.9, 0.4], length=2, offset=-1) == lost_at(1)
    assert crossing([0.9, 0.9, 0.9], length=3, offset=-1) == alive_at(2)


@pytest.mark.parametrize("offset", [0, -1])
def test_an_unknown_length_is_the_observed_length(offset):
    assert crossing([0.9, 0.9, 0.4], offset=offset) == dead_at(2)
    assert crossing([0.9, 0.9, 0.9], offset=offset) == alive_at(2)
    assert crossing([0.9, 0.9, NAN], offset=offset) == lost_at(1)


def test_the_last_observation_skips_missing_values():
    assert crossing([0.9, NAN, 0.9, NAN]) == lost_at(2)


@pytest.mark.parametrize(("values", "length"), [([NAN, NAN], 1), ([0.9, 0.1], -1)])
def test_without_observations_there_is_no_event(values, length):
    assert crossing(values, length) == alive_at(-1)


def test_ended_rollouts_can_count_as_alive_to_their_window():
    for values, length, fate in (
        ([0.9, 0.9, NAN, NAN], 1, alive_at(3)),
        ([0.9, 0.4, NAN, NAN], 1, dead_at(1)),
        ([NAN, NAN, NAN, NAN], 0, alive_at(-1)),
        # The rollout went on; only its last fork was not measured.
        ([0.9, 0.9, 0.9, NAN], 3, alive_at(2)),
    ):
        assert crossing(values, length, ended_alive=True) == fate


def test_only_dead_trajectories_recover():
    assert crossing([0.9, 0.4, NAN, 0.9]) == dead_at(1, recovered=True)
    assert crossing([0.9, 0.4]) == dead_at(1)
    assert crossing([0.4, 0.9], length=0) == dead_at(0)


def test_several_thresholds():
    events = crossing([0.9, 0.6, 0.3], thresholds=[0.5, 0.8, 0.1])
    assert (events.end, events.died) == ([2, 1, 2], [True, True, False])

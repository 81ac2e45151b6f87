"""What the loop says of its speed, of waiting, and of the sources of a mixture."""

import math

import pytest

from transformer import report


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(report.time, 'monotonic', made)
    return made


def interval(speed, clock, last, waits, works, paused=0.0):
    """Ten steps."""
    for _ in range(10):
        with speed.waiting():
            clock.now += waits
        clock.now += works
    with speed.paused():
        clock.now += paused
    return speed.since_last(last)


def test_waiting_is_a_share_of_the_time_that_is_not_paused(clock, capsys):
    speed = report.Speed(1000, 0.0, 1)
    assert speed.since_last(1) == {}
    values = interval(speed, clock, 11, 0.04, 0.96, paused=50.0)
    assert values['data_wait'] == pytest.approx(0.04)
    assert values['tokens_per_second'] == pytest.approx(1000)
    for last in (21, 31):
        assert interval(speed, clock, last, 0.04, 0.96)['data_wait'] == pytest.approx(0.04)
    assert capsys.readouterr().err == ''


def test_a_wait_is_warned_of_once_and_not_in_the_first_interval(clock, capsys):
    speed = report.Speed(1000, 0.0, 1)
    speed.since_last(1)
    interval(speed, clock, 11, 0.5, 0.5)
    assert capsys.readouterr().err == ''
    interval(speed, clock, 21, 0.06, 0.94)
    said = capsys.readouterr().err
    assert said.startswith('warning: 6% of the time since step 11 ')
    for what in ('config.data.workers', 'config.data.prefetch', 'python -m data.prepare'):
        assert what in said
    assert said.count('\n') == 1
    interval(speed, clock, 31, 0.5, 0.5)
    assert capsys.readouterr().err == ''


def test_a_short_hiccup_is_not_warned_of(clock, capsys):
    speed = report.Speed(1000, 0.0, 1)
    speed.since_last(1)
    interval(speed, clock, 11, 0.001, 0.009)
    assert interval(speed, clock, 21, 0.004, 0.006)['data_wait'] == pytest.approx(0.4)
    for last in range(31, 121, 10):  # with it a whole second, of which little went into waiting
        interval(speed, clock, last, 0.0, 0.01)
    assert capsys.readouterr().err == ''
    for last in range(121, 231, 10):
        interval(speed, clock, last, 0.004, 0.006)
    assert capsys.readouterr().err.startswith('warning: 40% of the time since step 111 ')


def test_losses_of_sources_between_two_records():
    losses = report.SourceLosses()
    values = {'loss': 1.5, 'nats/a': 6.0, 'tokens/a': 4.0, 'nats/b': 0.0, 'tokens/b': 0.0}
    losses.add(values)
    assert values == {'loss': 1.5}
    losses.add({'nats/a': 1.0, 'tokens/a': 3.0, 'nats/b': 0.0, 'tokens/b': 0.0})
    assert losses.since_last() == {'loss/a': 1.0, 'tokens/a': 7, 'tokens/b': 0}
    losses.add({'nats/a': math.nan, 'tokens/a': 5.0, 'nats/b': 8.0, 'tokens/b': 2.0})
    assert losses.since_last() == {'tokens/a': 0, 'loss/b': 4.0, 'tokens/b': 2}
    assert losses.since_last() == {'tokens/a': 0, 'tokens/b': 0}


def test_without_a_mixture_nothing_is_said_of_sources():
    losses, values = report.SourceLosses(), {'loss': 1.0, 'tokens': 3.0, 'experts/dropped': 1.0}
    losses.add(values)
    assert values == {'loss': 1.0, 'tokens': 3.0, 'experts/dropped': 1.0}
    assert losses.since_last() == {}

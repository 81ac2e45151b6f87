"""Processes find each other, say what is wrong where they do not, and stop as one."""

import argparse
import io
import itertools
import random
import signal
import socket
import sys
import threading
import time

import pytest

from transformer.errors import UserError
from transformer.launch import agreement, environment, meeting, pod, quiet, stopping
from transformer.launch.environment import Place

SLURM = {
    'SLURM_JOB_ID': '7',
    'SLURM_STEP_NODELIST': 'node[03-04],other',
    'SLURM_NTASKS': '4',
    'SLURM_PROCID': '2',
    'SLURM_LOCALID': '1',
}
OPEN_MPI = {
    'OMPI_MCA_orte_hnp_uri': '1531576320.0;tcp://10.96.0.1,10.148.0.1:34911',
    'OMPI_COMM_WORLD_SIZE': '8',
    'OMPI_COMM_WORLD_RANK': '5',
    'OMPI_COMM_WORLD_LOCAL_RANK': '1',
}
VARIABLES = dict(zip(environment.VARIABLES, ('here:1', '3', '2')))
KUBERNETES = {'KUBERNETES_SERVICE_HOST': '10.0.0.1', 'JOB_COMPLETION_INDEX': '1'}


def find(**given):
    return environment.find(
        argparse.Namespace(**{name: given.get(name) for name in environment.FLAGS})
    )


def free_port():
    with socket.create_server(('', 0)) as server:
        return server.getsockname()[1]


def together(*functions):
    """What the functions, called at the same time, return or raise."""
    found = [None] * len(functions)

    def call(i, function):
        try:
            found[i] = function()
        except UserError as error:
            found[i] = error

    threads = [threading.Thread(target=call, args=args) for args in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return found


def places(count, coordinator=None):
    coordinator = coordinator or f'localhost:{free_port()}'
    return [Place(coordinator, count, index) for index in range(count)]


@pytest.mark.parametrize(
    ('variables', 'coordinator', 'count', 'index', 'devices'),
    [
        (VARIABLES, 'here:1', 3, 2, None),
        (SLURM, 'node03:61447', 4, 2, (1,)),
        (SLURM | {'SLURM_STEP_TASKS_PER_NODE': '1(x4)'}, 'node03:61447', 4, 2, None),
        (SLURM | {'JAX_COORDINATOR_ADDRESS': 'there:9'}, 'there:9', 4, 2, (1,)),
        (OPEN_MPI, '10.96.0.1:62624', 8, 5, (1,)),
        (OPEN_MPI | {'JAX_COORDINATOR_PORT': '99'}, '10.96.0.1:99', 8, 5, (1,)),
    ],
)
def test_what_started_them_is_asked(monkeypatch, variables, coordinator, count, index, devices):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find() == Place(coordinator, count, index, devices)
    flags = find(coordinator='a:1', processes='2', process='1')
    assert flags == Place('a:1', 2, 1)  # what the user says counts


@pytest.mark.parametrize(
    'variables',
    [
        {},
        SLURM | {'SLURM_NTASKS': '1', 'SLURM_PROCID': '0'},
        {name: value for name, value in SLURM.items() if 'STEP' not in name},  # a batch script
        OPEN_MPI | {'OMPI_COMM_WORLD_SIZE': '1'},
        {'KUBERNETES_SERVICE_HOST': '10.0.0.1'},  # a notebook in a pod
        dict(zip(environment.VARIABLES, ('here:1', '1', '0'))),
    ],
)
def test_one_process_is_one_process(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find() is None


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'process': '1'}, '--process=1: --coordinator and --processes must be given too'),
        (('here', '2', '0'), '--coordinator=here: accepted: HOST:PORT of process 0'),
        (('here:1', '0', '0'), '--processes=0: accepted: a whole number above 0'),
        (('here:1', '2', '2'), '--process=2: accepted: 0 to 1'),
    ],
)
def test_flags_that_cannot_be(given, message):
    if isinstance(given, tuple):
        given = dict(zip(environment.FLAGS, given))
    with pytest.raises(UserError, match=message):
        find(**given)


def test_variables_without_the_others(monkeypatch):
    monkeypatch.setenv('JAX_PROCESS_ID', '1')
    with pytest.raises(UserError, match='JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES must be'):
        find()


def test_an_indexed_job_needs_its_package(monkeypatch):
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, 'kubernetes', None)
    with pytest.raises(UserError, match=r"pip install 'jax\[k8s\]'"):
        find()


def test_a_cluster_that_does_not_answer(monkeypatch):
    for name, value in (SLURM | {'SLURM_PROCID': 'first'}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"cannot be found \(.*'first'\); accepted: --coordinator="):
        find()


def test_all_meet():
    first, second, third = places(3)
    found = together(
        lambda: meeting.gather(first),
        lambda: meeting.call(second),
        lambda: meeting.call(third),
    )
    (links, peers), *others = found
    assert sorted(links) == [1, 2]
    assert [peer['index'] for peer in peers] == [0, 1, 2]
    for index, (up, seen) in enumerate(others, 1):
        assert seen == peers
        up[0].send({'from': index})
        assert links[index].receive(5) == {'from': index}
        up[0].close()
        links[index].close()


def test_too_few_processes_are_counted():
    first, second, _ = places(3)
    message = 'only 2 of 3 processes came to .* within 1 s; missing: process 2'
    for found in together(lambda: meeting.gather(first, join=1), lambda: meeting.call(second)):
        with pytest.raises(UserError, match=message):
            raise found


def test_two_of_the_same_number_or_another_count():
    first, second = places(2)
    other = Place(second.coordinator, 3, 1)
    _, wrong = together(lambda: meeting.gather(first, join=1), lambda: meeting.call(other))
    assert 'process 1 was told of 3 processes, process 0 of 2' in str(wrong)
    first, second, _ = places(3)
    call = lambda: meeting.call(second)  # noqa: E731
    _, *callers = together(lambda: meeting.gather(first, join=1), call, call)
    assert any('two processes are number 1 of 3' in str(found) for found in callers)


def test_a_coordinator_out_of_reach_is_named():
    (_, place), began = places(2), time.monotonic()
    with pytest.raises(UserError, match=f'{place.coordinator} within 1 s .*refused'):
        meeting.call(place, reach=1)
    with pytest.raises(UserError, match='no-such-host.invalid:80 within 1 s'):
        meeting.call(Place('no-such-host.invalid:80', 2, 1), reach=1)
    with socket.create_server(('', 0)) as server:  # a program that says nothing
        address = f'localhost:{server.getsockname()[1]}'
        with pytest.raises(UserError, match='something else answers there'):
            meeting.call(Place(address, 2, 1), reach=1)
        with pytest.raises(UserError, match='cannot listen at port .* a port that is free'):
            meeting.gather(Place(address, 2, 0))
    assert time.monotonic() - began < 30


@pytest.fixture
def pods():
    """Four processes' views of a run, all of them in this process."""
    first, *rest = places(4)
    calls = [lambda place=place: meeting.call(place) for place in rest]
    found = together(lambda: meeting.gather(first), *calls)
    made = [pod.Pod(i, peers, links) for i, (links, peers) in enumerate(found)]
    for one in made:
        one.stop = stopping.Together(one)
        one.listen()
    yield made
    together(*[one.finish for one in made])


def test_values_are_gathered_and_handed_out(pods):
    def exchange(one):
        return one.gather(10 * one.index), one.broadcast(['of', one.index]), one.meet()

    found = together(*[lambda one=one: exchange(one) for one in pods])
    assert found[0] == ([0, 10, 20, 30], ['of', 0], None)
    assert found[1:] == [(None, ['of', 0], None)] * 3


@pytest.mark.parametrize('seed', range(3))
def test_one_signal_stops_all_after_the_same_step(pods, seed):
    """Steps end together, as collectives make them, up to one that is dispatched ahead."""
    rng, ahead = random.Random(seed), [threading.Barrier(len(pods)) for _ in range(10_000)]
    asks, at = rng.randrange(4), rng.randrange(2, 40)

    def train(one):
        one.stop.begin(1)
        for n in range(1, len(ahead)):
            if one.index == asks and n == at:
                one.stop.ask(signal.SIGTERM)
            time.sleep(0.001 * rng.random())
            if n > 1:
                ahead[n - 1].wait(10)
            if one.stop.after(n):
                ahead[n].wait(10)
                return n, one.stop.signal, one.stop.exit_code
        return None

    found = together(*[lambda one=one: train(one) for one in pods])
    assert len(set(found)) == 1
    last, number, code = found[0]
    assert (number, code) == (signal.SIGTERM, 143)
    assert at <= last <= at + 2


def test_a_signal_before_others_have_begun(pods):
    asking = pods[1].stop
    asking.begin(5)
    asking.ask(signal.SIGINT)
    last = next(n for n in itertools.count(5) if asking.after(n))
    for one in pods[:1] + pods[2:]:
        one.stop.begin(5)
        assert next(n for n in itertools.count(5) if one.stop.after(n)) == last


def test_differences_are_named(monkeypatch):
    peers = [{'host': 'a', 'pid': 1}, {'host': 'b', 'pid': 2}, {'host': 'c', 'pid': 3}]
    monkeypatch.setattr(agreement, 'here', lambda: pod.Pod(0, peers))
    mine, other = {'config.steps': '8', 'software': 'x'}, {'config.steps': '9', 'software': 'y'}
    found = agreement._difference(mine, [None, None, other])
    expected = 'config.steps is 8 in process 0 of 3 (a, pid 1) and 9 in process 2 of 3 (c, pid 3)'
    assert found.startswith(expected)
    assert agreement._difference(mine, [None, None, None]) == ''


def test_lines_say_whose_they_are():
    written = io.StringIO()
    stream = quiet.Prefixed(written, '[process 1 of 2, a] ')
    print('one\ntwo', file=stream)
    stream.write('half')
    assert written.getvalue() == '[process 1 of 2, a] one\n[process 1 of 2, a] two\n'
    stream.write(' and half\n\n')
    assert written.getvalue().endswith('\n[process 1 of 2, a] half and half\n\n')

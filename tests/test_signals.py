"""Signals, heard whatever the main thread does."""

import signal
import subprocess
import sys
import time

import pytest

WAITS = """
import signal, sys, time
from transformer.signals import graceful
with graceful() as stop:
    print('ready', flush=True)
    BUSY
sys.exit(stop.exit_code)
"""
POLITE = 'while stop.signal is None: time.sleep(0.01)'


def started(busy):
    process = subprocess.Popen(
        [sys.executable, '-c', WAITS.replace('BUSY', busy)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == 'ready\n'
    return process


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_one_signal_asks(number):
    with started(POLITE) as process:
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert 'saving after this step' in process.stderr.read()


def test_a_second_interrupt_does_not_wait():
    # One long call into C that handlers written in Python must wait for, as a compilation is.
    busy = 'import hashlib; hashlib.pbkdf2_hmac("sha256", b"", b"", 400_000_000)'
    with started(busy) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert 'leaving at once' in process.stderr.read()


def test_handlers_are_put_back():
    from transformer.signals import graceful

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with graceful() as stop:
        assert stop.signal is None
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

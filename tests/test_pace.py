"""Which number of threads is chosen, on machines that are simulated: a clock that runs as fast as a model says."""

import numpy as np
import pytest

from fastmlp.engine.thread_tuner import ThreadTuner

FLOP = 6 * 128 * (784 * 128 + 128 * 10)  # of a step of 784-128-10, batch 128


class Machine:
    """Steps take `serial` or `parallel` seconds, times the noise, and the first call of each three times as long."""

    def __init__(self, seed, serial=0.78e-3, parallel=0.42e-3, noise=0.0, hiccups=0.0, drift=0.0):
        self.rng = np.random.default_rng(seed)
        self.seconds_per_step, self.noise = {1: serial, 2: parallel}, noise
        self.hiccups, self.drift = hiccups, drift  # interruptions of 1 to 20 ms in a second; slow waves of all times
        self.cold, self.now, self.phase = {1, 2}, 0.0, self.rng.uniform(0, 2 * np.pi)

    def call(self, threads, steps):
        seconds = steps * self.seconds_per_step[threads] * self.rng.lognormal(0, self.noise)
        seconds *= 1 + self.drift * np.sin(2 * np.pi * self.now / 0.3 + self.phase)
        if threads in self.cold:
            self.cold.remove(threads)
            seconds = 3 * seconds + 1e-3
        for _ in range(self.rng.poisson(self.hiccups * seconds)):
            seconds += self.rng.uniform(1e-3, 20e-3)
        self.now += seconds
        return seconds


def drive(pace, machine, steps, most=469):
    """Do so many steps; returns the threads of each."""
    used = []
    while len(used) < steps:
        threads, n = pace.next(2, min(most, steps - len(used)))
        assert 1 <= n <= most
        pace.note(machine.call(threads, n), n)
        used += [threads] * n
    return np.array(used)


QUIET = {"none": {}, "little": {"noise": 0.05}, "much": {"noise": 0.2}}
BUSY = {
    "hiccups": {"noise": 0.05, "hiccups": 10},
    "drift": {"noise": 0.05, "drift": 0.3},
    "all": {"noise": 0.15, "hiccups": 5, "drift": 0.2},
}
NOISE = {**QUIET, **BUSY}
TIMES = [(0.78e-3, 0.42e-3), (0.78e-3, 1.5e-3), (0.2e-3, 0.11e-3), (0.5e-3, 0.35e-3)]


def on_the_slower(machine, steps):
    """Whether each of so many steps is done by the slower number of threads."""
    times = machine.seconds_per_step
    return drive(ThreadTuner(FLOP), machine, steps) == max(times, key=times.get)


@pytest.mark.parametrize("noise", QUIET)
@pytest.mark.parametrize("times", TIMES)
def test_the_faster_one_is_settled_on_within_a_few_steps_in_every_run(noise, times):
    for seed in range(30):
        slower = on_the_slower(Machine(seed, *times, **NOISE[noise]), 12 * 469)
        assert slower[64:469].mean() < 0.05, seed
        assert slower[469:].mean() < 0.05, seed


@pytest.mark.parametrize("noise", BUSY)
@pytest.mark.parametrize("times", TIMES)
def test_little_time_is_lost_where_much_disturbs(noise, times):
    lost_by_step = max(times) / min(times) - 1
    for seed in range(30):
        slower = on_the_slower(Machine(seed, *times, **NOISE[noise]), 12 * 469)
        assert slower.mean() * lost_by_step < 0.1, seed


@pytest.mark.parametrize("noise", NOISE)
def test_one_thread_stands_in_under_load_and_several_come_back(noise):
    for seed in range(30):
        pace, machine = ThreadTuner(FLOP), Machine(seed, **NOISE[noise])
        drive(pace, machine, 1000)
        machine.seconds_per_step = {1: 1.6e-3, 2: 40e-3}
        first = drive(pace, machine, 100)
        assert (first[-20:] == 1).all(), seed
        used = drive(pace, machine, 20_000)
        assert (used == 2).sum() < 20, seed
        machine.seconds_per_step = {1: 0.78e-3, 2: 0.42e-3}
        used = drive(pace, machine, 40_000)
        assert (used[-5000:] == 2).mean() > 0.99, seed


def test_under_load_from_the_start_few_steps_are_lost():
    for seed in range(30):
        used = drive(ThreadTuner(FLOP), Machine(seed, 1.6e-3, 40e-3, noise=0.3), 469)
        assert (used == 2).sum() <= 12, seed


def test_threads_whose_turns_come_and_go_are_judged_by_whole_calls():
    """Half of the time the second thread has no core: trials find several faster, and calls find that they are not."""

    class Shared(Machine):
        def call(self, threads, steps):
            start = self.now
            for _ in range(steps):
                blocked = threads == 2 and self.now % 10e-3 > 3e-3
                self.now += (10e-3 - self.now % 10e-3 if blocked else 0) + self.seconds_per_step[threads]
            return self.now - start

    for seed in range(30):
        machine = Shared(seed)
        machine.now = machine.rng.uniform(0, 10e-3)
        pace = ThreadTuner(FLOP)
        assert (drive(pace, machine, 12 * 469) == 1).mean() > 0.9, seed
        assert (drive(pace, machine, 30 * 469) == 1).mean() > 0.98, seed


@pytest.mark.parametrize("most", [2, 8, 30])
def test_short_calls_are_compared_too(most):
    for seed in range(30):
        assert (drive(ThreadTuner(FLOP), Machine(seed, noise=0.1), 3000, most)[469:] == 2).mean() > 0.95, seed
        assert (drive(ThreadTuner(FLOP), Machine(seed, 1e-3, 3e-3, noise=0.1), 3000, most)[469:] == 1).mean() > 0.95, (
            seed
        )


def test_a_few_steps_are_not_worth_a_comparison():
    assert (drive(ThreadTuner(FLOP), Machine(0), 10, 10) == 2).all()


def test_with_one_thread_there_is_nothing_to_choose():
    pace = ThreadTuner(FLOP)
    for _ in range(100):
        assert pace.next(1, 1000) == (1, 1000)
        pace.note(1.0, 1000)
    assert not pace.compared


@pytest.mark.parametrize("flop", [1.0, 1e6, 1e8, 1e12])
def test_trials_have_a_step_at_least_and_no_more_than_a_call(flop):
    assert 1 <= ThreadTuner(flop).trial_steps <= ThreadTuner.CALL_STEPS

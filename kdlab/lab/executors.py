"""Where independent jobs run: processes of this machine, or the workers of a Ray cluster.

An engine takes a function, argument tuples, a number of workers and where to find them, and yields
(arguments, result) as each job finishes: a killed worker or caller loses only what was running.
"""

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch

MOST_ON_WINDOWS = 61  # a process there can't wait for more of them
Finished = Iterator[tuple[tuple, object]]


def local(call: Callable, jobs: Sequence[tuple], workers: int, address: str = "") -> Finished:
    """Processes of one thread each on this machine."""
    context = multiprocessing.get_context("spawn")
    workers = min(workers, MOST_ON_WINDOWS) if sys.platform == "win32" else workers
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        futures = {pool.submit(call, *job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:  # an error or Ctrl-C: don't begin what is still waiting
            pool.shutdown(cancel_futures=True)
            raise


def on_ray(call: Callable, jobs: Sequence[tuple], workers: int, address: str = "") -> Finished:
    """Tasks of one core each on a Ray cluster: the one at `address` or, without, a local one.

    Ray starts a task anew, up to three times, when its worker dies. Each machine of the cluster
    needs this repository and its requirements. ImportError says how to install Ray.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError('Ray is not installed: python -m pip install "kdlab[ray]"') from error
    where = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
    began = not ray.is_initialized()
    if began:
        ray.init(log_to_driver=False, logging_level="error", **where)
    try:
        task = ray.remote(num_cpus=1, max_retries=3)(call)
        waiting = {task.remote(*job): job for job in jobs}
        while waiting:
            for reference in ray.wait(list(waiting))[0]:
                yield waiting.pop(reference), ray.get(reference)
    finally:
        if began:
            ray.shutdown()


ENGINES: dict[str, Callable[..., Finished]] = {"local": local, "ray": on_ray}

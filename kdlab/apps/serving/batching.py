"""For the service: a queue for each model, whose waiting images are answered in one call.

Batches grow with the load, and no image waits for others to come.
"""

import asyncio
from concurrent.futures import Executor

import numpy as np
from onnxruntime import InferenceSession
from prometheus_client import Histogram

from kdlab.apps.serving import runtime


class Batcher:
    """One model; the images that wait for it are answered together, up to `limit` at once."""

    def __init__(self, session: InferenceSession, pool: Executor, limit: int, sizes: Histogram):
        self.session, self.pool, self.limit, self.sizes = session, pool, limit, sizes
        self.queue: asyncio.Queue = asyncio.Queue()

    async def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Logits [K] for one image [C, H, W]; raises what its batch raised."""
        answer = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((pixels, answer))
        return await answer

    async def work(self) -> None:
        """Answer for ever; what fails is told to those who wait, and the work goes on."""
        loop = asyncio.get_running_loop()
        while True:
            requests = [await self.queue.get()]
            while len(requests) < self.limit and not self.queue.empty():
                requests.append(self.queue.get_nowait())
            requests = [(pixels, answer) for pixels, answer in requests if not answer.cancelled()]
            if not requests:  # all of their clients have gone
                continue
            self.sizes.observe(len(requests))
            try:  # images of two shapes fail here, too
                batch = np.stack([pixels for pixels, _ in requests])
                results = await loop.run_in_executor(self.pool, runtime.infer, self.session, batch)
            except Exception as error:  # whatever it is, it belongs to these requests alone
                results = [error] * len(requests)
            for (_, answer), result in zip(requests, results, strict=True):
                if answer.cancelled():
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(result)
                else:
                    answer.set_result(result)

"""What waits together is answered together: batches grow with the load and cost no waiting."""

import asyncio
from concurrent.futures import Executor

import numpy as np
from onnxruntime import InferenceSession
from prometheus_client import Histogram

from kdlab.apps.serving import runtime


class Batcher:
    """One model; the images that wait for it are answered together, up to `limit` at once."""

    def __init__(
        self, session: InferenceSession, pool: Executor, limit: int, sizes: Histogram
    ) -> None:
        self.session, self.pool, self.limit, self.sizes = session, pool, limit, sizes
        self.waiting: asyncio.Queue = asyncio.Queue()

    async def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Logits [K] for one image [C, H, W]."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((pixels, answer))
        return await answer

    async def work(self) -> None:
        """Answer for ever; what fails is told to those who wait, and the work goes on."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < self.limit and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            batch = [(pixels, answer) for pixels, answer in batch if not answer.done()]
            if not batch:  # all of them have gone
                continue
            self.sizes.observe(len(batch))
            try:  # images of two shapes fail here, too, and must not end the work
                pixels = np.stack([pixels for pixels, _ in batch])
                logits = await loop.run_in_executor(self.pool, runtime.infer, self.session, pixels)
            except Exception as error:  # whatever it is, it belongs to these requests alone
                logits = [error] * len(batch)
            for (_, answer), row in zip(batch, logits, strict=True):
                if not answer.done():
                    failed = isinstance(row, Exception)
                    (answer.set_exception if failed else answer.set_result)(row)

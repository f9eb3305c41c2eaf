"""For `kdlab serve`: the online service and its page, FastAPI over ONNX Runtime, without torch.

A `Service` answers with exported models, `create_app` speaks HTTP for it. Every limit has a number
in `Limits`; whatever is wrong with a request ends in a 4xx and one sentence, never in a traceback.
"""

import asyncio
import lzma
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import anyio
import numpy as np
import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from kdlab.apps.serving import decode, runtime
from kdlab.apps.serving.batching import Batcher
from kdlab.apps.serving.limits import LIMITS, Limits
from kdlab.apps.serving.shadow import Agreement

WEB = Path(__file__).parent / "web"
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:"
HEADERS = [("content-security-policy", POLICY), ("x-content-type-options", "nosniff")]
FAILURES = {
    400: "not an image",
    408: "the body came too slowly",
    413: "the body is too large",
    415: "neither PNG, JPEG nor JSON",
    422: "a value out of its range",
    503: "too busy",
}


Shadows = Mapping[str, tuple[str, Agreement]]  # model -> its shadow, and how often they agree

# the metrics of /metrics
REQUESTS = Counter("kdlab_requests", "Answered (200) and refused", ["path", "status"])
AT_ONCE = Gauge("kdlab_requests_at_once", "Requests in work")
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
ANSWER_SECONDS = Histogram("kdlab_predict_seconds", "Of an answer", ["model"], buckets=LATENCIES)
BATCH_SIZES = Histogram("kdlab_batch_images", "In a call", ["model"], buckets=(1, 2, 4, 8, 16, 32))
COMPARED = Counter("kdlab_shadow", "Images compared", ["model", "shadow"])
AGREED = Counter("kdlab_shadow_agreed", "Of these, same class", ["model", "shadow"])
ALARM = Gauge("kdlab_drift_alarm", "1 while the drift alarm rings", ["model", "shadow"])
Gauge("kdlab_resident_megabytes", "Resident memory").set_function(runtime.process_memory)


class Prediction(BaseModel):
    """What a model says about an image."""

    model: str
    temperature: float
    label: str
    probabilities: dict[str, float]


class Failure(BaseModel):
    """Why there is no answer, in one sentence."""

    error: str


class Service:
    """Exported models, each with its queue, and those that answer in the shadow of another.

    An int8 file is called NAME-int8, so it stands beside its float32 form. ValueError where two
    files have one name, or a shadow is not there or takes images of another shape.
    """

    def __init__(self, paths: list[Path], shadows: Shadows | None = None, limits=LIMITS) -> None:
        self.shadows, self.limits = shadows or {}, limits
        self.slots, self.comparisons = asyncio.Semaphore(limits.at_once), set()
        self.pool = ThreadPoolExecutor(1, "inference")
        self.paths, self.about, self.batchers = {}, {}, {}
        for path in paths:
            session = runtime.open_model(path)
            about = runtime.metadata(session) | {"bytes": path.stat().st_size}
            name = about["name"] = about["name"] + ("-int8" if about.get("int8") else "")
            if name in self.paths:
                raise ValueError(f"two models are called {name}: {self.paths[name]} and {path}")
            sizes = BATCH_SIZES.labels(name)
            self.paths[name], self.about[name] = path, about
            self.batchers[name] = Batcher(session, self.pool, limits.batch, sizes)
        names = {*self.shadows, *(shadow for shadow, _ in self.shadows.values())}
        if unknown := ", ".join(sorted(names - self.about.keys())):
            raise ValueError(f"no model {unknown}: there are {', '.join(self.about)}")
        for name, (shadow, _) in self.shadows.items():
            takes, other = self.about[name]["shape"], self.about[shadow]["shape"]
            if takes != other:
                raise ValueError(f"{name} takes images of {takes}, its shadow {shadow} of {other}")

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """The queues are worked on while the application runs."""
        tasks = [asyncio.create_task(batcher.work()) for batcher in self.batchers.values()]
        yield
        for task in [*tasks, *self.comparisons]:
            task.cancel()
        self.pool.shutdown(wait=False)

    async def predict(self, request: Request, name: str, temperature: float) -> dict:
        """The answer to a request for one image; HTTPException for whatever is wrong with it."""
        if self.slots.locked():
            raise HTTPException(503, "too many requests at once: try again", {"Retry-After": "1"})
        start = time.perf_counter()
        async with self.slots:
            with AT_ONCE.track_inprogress():
                pixels = await self.pixels(request, self.about[name]["shape"])
                with anyio.move_on_after(self.limits.seconds) as waited:
                    logits = await self.batchers[name].logits(pixels)
        if waited.cancelled_caught:
            raise HTTPException(503, "no answer in time: try again")
        ANSWER_SECONDS.labels(name).observe(time.perf_counter() - start)
        REQUESTS.labels("/predict", 200).inc()
        if name in self.shadows and len(self.comparisons) < self.limits.batch:  # else it slows down
            task = asyncio.create_task(self.compare(name, pixels, logits))
            self.comparisons.add(task)
            task.add_done_callback(self.comparisons.discard)
        classes, p = self.about[name]["classes"], runtime.softmax(logits, temperature).round(6)
        answer = {"model": name, "temperature": temperature, "label": classes[logits.argmax()]}
        return answer | {"probabilities": dict(zip(classes, p.tolist(), strict=True))}

    async def pixels(self, request: Request, shape: Sequence[int]) -> np.ndarray:
        """The request's image as a model of this shape takes it, uint8 [C, H, W]."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in decode.FORMATS:
            accepted = ", ".join(decode.FORMATS)
            raise HTTPException(415, f"send {accepted}, not {kind[:40] or 'nothing'}")
        body = await read_body(request, self.limits)
        image = decode.open_image(body, decode.FORMATS[kind], self.limits.side)
        if max(image.size) <= self.limits.inline:
            return decode.fit_image(image, shape)
        return await asyncio.to_thread(decode.fit_image, image, shape)

    async def compare(self, name: str, pixels: np.ndarray, logits: np.ndarray) -> None:
        """Ask the shadow about an image that was answered, and count whether it agrees."""
        shadow, agreement = self.shadows[name]
        shadow_logits = await self.batchers[shadow].logits(pixels)
        same = bool(shadow_logits.argmax() == logits.argmax())
        COMPARED.labels(name, shadow).inc()
        AGREED.labels(name, shadow).inc(same)
        ALARM.labels(name, shadow).set(agreement.update(same))


def create_app(service: Service) -> FastAPI:
    """The HTTP side of a service: its API, its page, its models as files."""
    app = FastAPI(title="kdlab", version="1", lifespan=service.lifespan, docs_url=None)
    for kind in (HTTPException, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, refuse)
    Name = Literal[tuple(service.batchers)]
    content = dict.fromkeys(decode.FORMATS, {"schema": {"type": "string", "format": "binary"}})
    content["application/json"] = {"schema": decode.Pixels.model_json_schema()}
    body = {"requestBody": {"required": True, "content": content}}
    failures = {code: {"model": Failure, "description": why} for code, why in FAILURES.items()}

    @app.post("/predict", summary="Classify one image", responses=failures, openapi_extra=body)
    async def predict(
        request: Request,
        model: Annotated[Name, Query(description="which model answers")],
        temperature: Annotated[float, Query(ge=0.05, le=100, allow_inf_nan=False)] = 1.0,
    ) -> Prediction:
        """The image may have any size up to the limit: its middle square is scaled to the model's.

        The MNIST models expect a white digit on black, as MNIST has it.
        """
        return await service.predict(request, model, temperature)

    @app.get("/health", summary="Whether it works, and whether the drift alarm rings")
    async def health() -> dict:
        ringing = [name for name, (_, agreement) in service.shadows.items() if agreement.alarm]
        return {"status": "ok", "models": list(service.batchers), "drift_alarm": ringing}

    @app.get("/metrics", summary="Prometheus text", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/models", summary="The models, their classes and their size")
    async def models() -> list[dict]:
        return list(service.about.values())

    @app.get("/models/{name}.onnx", include_in_schema=False)
    async def model_file(name: str) -> Response:
        if name not in service.paths:
            raise HTTPException(404, f"no model {name[:60]}")
        return FileResponse(service.paths[name], media_type="application/octet-stream")

    @app.get("/ort-wasm-simd.wasm", include_in_schema=False)
    @cache
    def webassembly() -> Response:  # the clone has it compressed
        content = lzma.decompress((WEB / "ort-wasm-simd.wasm.xz").read_bytes())
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response(content, media_type="application/wasm", headers=headers)

    app.add_route("/docs", lambda request: FileResponse(WEB / "docs.html"), include_in_schema=False)
    app.router.default = StaticFiles(directory=WEB, html=True)  # the page, where nothing else is
    return app


async def refuse(request: Request, error: Exception) -> Response:
    """Every failure of a request is {"error": one sentence}; nothing of the inside is told."""
    status, message, headers = 500, "the service failed; the request was not answered", None
    if isinstance(error, HTTPException):
        status, message, headers = error.status_code, error.detail, error.headers
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        status, message = 422, f"{first['loc'][-1]}: {first['msg']}"
    elif isinstance(error, ClientDisconnect):  # nobody reads the answer; nginx's number counts it
        status, message = 499, "the client hung up"
    REQUESTS.labels("/predict" if request.url.path == "/predict" else "other", status).inc()
    return JSONResponse({"error": message}, status, headers)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body; HTTPException for more bytes than the limit, or too slow ones."""
    body = bytearray()
    with anyio.move_on_after(limits.seconds):
        async for part in request.stream():
            body += part
            if len(body) > limits.body:
                raise HTTPException(413, f"a body may have {limits.body:,} bytes at most")
        return bytes(body)
    raise HTTPException(408, "the body came too slowly")


def read_shadows(options: Sequence[str]) -> Shadows:
    """ "NAME:SHADOW:SHARE:IMAGES": the two should agree on this share, as they did on so many."""
    shadows = {}
    try:
        for option in options:
            name, shadow, share, images = option.rsplit(":", 3)
            shadows[name] = shadow, Agreement(float(share), int(images))
    except ValueError as error:
        form = "--shadow is NAME:SHADOW:SHARE:IMAGES"
        raise ValueError(f"{form}, not {' '.join(options)} ({error})") from None
    return shadows


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. OSError in one sentence if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port} ({error}): choose another --port") from None
    # what it accepts inherits this: without it Nagle's algorithm costs 40 ms an answer
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def url_of(listening: socket.socket) -> str:
    """The URL at which a browser on this machine reaches a listening socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Run until Ctrl-C; every answer carries the page's policy."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        headers=HEADERS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])

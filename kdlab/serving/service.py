"""The online service and the page: FastAPI over ONNX Runtime, without torch.

A `Service` answers with any exported models, `create_app` speaks HTTP for it. Requests that wait
while a batch is computed make up the next one, so batches grow with the load and cost no waiting
without it. Every limit has a number in `Limits`; whatever is wrong with a request ends in a 4xx and
one sentence, never in a traceback.
"""

import asyncio
import io
import lzma
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from PIL import Image, ImageOps
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from kdlab.serving import runtime
from kdlab.serving.rollout import Agreement

WEB = Path(__file__).parent / "web"
WASM = WEB / "ort-wasm-simd.wasm.xz"
FILES = ("page.js", "page.css", "docs.js", "samples.png", "ort.wasm-core.min.js")
PAGES = {"/": "index.html", "/docs": "docs.html"} | {f"/{name}": name for name in FILES}
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)  # buckets
POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:"


class Limits(NamedTuple):
    """What the service accepts at most."""

    body: int = 1_000_000  # bytes
    side: int = 2048  # pixels
    inline: int = 256  # pixels: a larger image is decoded beside the event loop
    at_once: int = 256  # requests in work, over all models
    batch: int = 32  # images in one call of a model
    seconds: float = 5.0  # for reading a body, and for an answer


LIMITS = Limits()
KINDS = {"image/png": "PNG", "image/jpeg": "JPEG", "application/json": "JSON"}
FAILURES = {
    400: "not an image",
    408: "the body came too slowly",
    413: "the body is too large",
    415: "neither PNG, JPEG nor JSON",
    422: "a value out of its range",
    503: "too busy",
}


SIZES = {784: (1, 28, 28), 3072: (3, 32, 32)}
Level = Annotated[float, Field(ge=0, le=255, allow_inf_nan=False)]


class Pixels(BaseModel, strict=True, extra="forbid"):
    """Levels from 0 (black) to 255, row by row: 784 for 28 x 28 grey pixels; 3072 for 32 x 32 in
    colour, all of red, then all of green, then all of blue."""

    pixels: list[Level]


def pixels_schema() -> dict:
    """The form of a JSON body, with the two lengths that it may have."""
    schema, forms = Pixels.model_json_schema(), []
    for count in SIZES:
        exactly = schema["properties"]["pixels"] | {"minItems": count, "maxItems": count}
        forms.append(schema | {"properties": {"pixels": exactly}})
    return {"anyOf": forms}


class Answer(BaseModel):
    """What a model says about an image."""

    model: str
    temperature: float
    label: str
    probabilities: dict[str, float]


class Failure(BaseModel):
    """Why there is no answer, in one sentence."""

    error: str


class Batcher:
    """One model; the images that wait for it are answered together, up to `limit` at once."""

    def __init__(self, session: runtime.Session, pool: ThreadPoolExecutor, limit: int, sizes):
        self.session, self.pool, self.limit, self.sizes = session, pool, limit, sizes
        self.waiting: asyncio.Queue = asyncio.Queue()

    async def ask(self, pixels: np.ndarray) -> np.ndarray:
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
            pixels = np.stack([pixels for pixels, _ in batch])
            try:
                logits = await loop.run_in_executor(self.pool, runtime.ask, self.session, pixels)
            except Exception as error:  # whatever it is, it belongs to these requests alone
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error)
            else:
                for (_, answer), row in zip(batch, logits, strict=True):
                    if not answer.done():
                        answer.set_result(row)


def read_pixels(body: bytes) -> np.ndarray:
    """The image of a JSON body, uint8 [C, H, W]."""
    try:
        levels = Pixels.model_validate_json(body).pixels
        problem = f"there are {len(levels)}"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        levels, problem = [], f"{'.'.join(map(str, first['loc']))[:40]}: {first['msg']}"
    if len(levels) not in SIZES:
        wanted = 'expected {"pixels": [784 or 3072 numbers from 0 to 255]}'
        raise HTTPException(422, f"{wanted}; {problem}")
    return np.rint(levels).astype(np.uint8).reshape(SIZES[len(levels)])


def open_image(body: bytes, kind: str, limits: Limits) -> Image.Image:
    """A PNG or JPEG of acceptable size, its header read and its pixels not yet."""
    try:
        image = Image.open(io.BytesIO(body), formats=[kind])
        width, height = image.size
    except Image.DecompressionBombError:
        width = height = limits.side + 1
    except Exception:  # a decoder meets anything in a damaged file
        raise HTTPException(400, f"the body is not a readable {kind} image") from None
    if max(width, height) > limits.side:
        raise HTTPException(422, f"an image may have {limits.side} pixels a side at most")
    return image


def read_image(image: Image.Image, shape: Sequence[int]) -> np.ndarray:
    """Its middle square at a model's size and in its colours, uint8 [C, H, W]."""
    channels, height, width = shape
    try:
        image = image.convert("L" if channels == 1 else "RGB")
    except Exception:
        raise HTTPException(400, "the image is cut short or damaged") from None
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BOX)
    return np.asarray(image, np.uint8).reshape(height, width, channels).transpose(2, 0, 1)


def adapt(pixels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Pixels [C, H, W] of one size for a model of another."""
    if pixels.shape == tuple(shape):
        return pixels
    image = Image.fromarray(pixels.transpose(1, 2, 0).squeeze())
    return read_image(image, shape)


class Meters:
    """What /metrics tells, one set an app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        self.requests = Counter("kdlab_requests", "Requests by status", ["path", "status"], **own)
        self.seconds = Histogram(
            "kdlab_predict_seconds", "Time of /predict", ["model"], buckets=SECONDS, **own
        )
        self.sizes = Histogram(
            "kdlab_batch_images",
            "Images in a batch",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32),
            **own,
        )
        self.at_once = Gauge("kdlab_requests_at_once", "Requests in work", **own)
        self.memory = Gauge("kdlab_resident_megabytes", "Resident memory", **own)
        self.memory.set_function(runtime.memory)
        names = ["model", "shadow"]
        self.compared = Counter("kdlab_shadow", "Images compared", names, **own)
        self.agreed = Counter("kdlab_shadow_agreed", "Of these, same class", names, **own)
        self.alarm = Gauge("kdlab_drift_alarm", "1 while the drift alarm rings", names, **own)


def count_answers(app, meters: Meters):
    """ASGI middleware: every answer is counted, and carries the headers of the page's policy."""

    async def counted(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)

        async def tell(message):
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in ("/predict", "/health") else "other"
                meters.requests.labels(path, str(message["status"])).inc()
                message["headers"] += [
                    (b"content-security-policy", POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await app(scope, receive, tell)

    return counted


class Service:
    """Exported models, each with its queue, and those that answer in the shadow of another."""

    def __init__(
        self,
        models: Sequence[Path],
        shadows: Mapping[str, tuple[str, Agreement]] | None = None,
        limits: Limits = LIMITS,
    ):
        sessions = [runtime.open_model(path) for path in models]
        notes = [runtime.about(session) for session in sessions]
        self.about = {note["name"]: note for note in notes}
        self.paths = dict(zip(self.about, models, strict=True))
        self.shapes = {n: runtime.shape_of(s) for n, s in zip(self.about, sessions, strict=True)}
        self.limits, self.shadows, self.meters = limits, dict(shadows or {}), Meters()
        self.pool, self.at_once, self.aside = ThreadPoolExecutor(1, "inference"), 0, set()
        self.batchers = {
            name: Batcher(session, self.pool, limits.batch, self.meters.sizes.labels(name))
            for name, session in zip(self.about, sessions, strict=True)
        }
        named = {*self.shadows, *(shadow for shadow, _ in self.shadows.values())}
        if named - set(self.about):
            unknown = ", ".join(sorted(named - set(self.about)))
            raise ValueError(f"no model {unknown}: there are {', '.join(self.about)}")

    @asynccontextmanager
    async def lifespan(self, app: FastAPI):
        """The queues are worked on while the application runs."""
        tasks = [asyncio.create_task(batcher.work()) for batcher in self.batchers.values()]
        yield
        for task in [*tasks, *self.aside]:
            task.cancel()
        self.pool.shutdown(wait=False)

    async def predict(self, request: Request, name: str, temperature: float) -> dict:
        """The answer to a request for one image; HTTPException for whatever is wrong with it."""
        if self.at_once >= self.limits.at_once:
            raise HTTPException(503, "too many requests at once: try again", {"Retry-After": "1"})
        start = time.perf_counter()
        self.at_once += 1
        try:
            pixels = await self.pixels(request, self.shapes[name])
            with told_as(503, "no answer in time: try again"):
                logits = await asyncio.wait_for(
                    self.batchers[name].ask(pixels), self.limits.seconds
                )
        finally:
            self.at_once -= 1
        if name in self.shadows and len(self.aside) < self.limits.batch:  # it never slows us down
            task = asyncio.create_task(self.compare(name, pixels, logits))
            self.aside.add(task)
            task.add_done_callback(self.aside.discard)
        self.meters.seconds.labels(name).observe(time.perf_counter() - start)
        classes = self.about[name]["classes"]
        likely = runtime.soften(logits, temperature).round(6).tolist()
        answer = {"model": name, "temperature": temperature, "label": classes[logits.argmax()]}
        return answer | {"probabilities": dict(zip(classes, likely, strict=True))}

    async def pixels(self, request: Request, shape: Sequence[int]) -> np.ndarray:
        """The request's image as a model of this shape takes it, uint8 [C, H, W]."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in KINDS:
            raise HTTPException(415, f"send {', '.join(KINDS)}, not {kind[:40] or 'nothing'}")
        body = await read_body(request, self.limits)
        if kind == "application/json":
            return adapt(read_pixels(body), shape)
        image = open_image(body, KINDS[kind], self.limits)
        if max(image.size) <= self.limits.inline:
            return read_image(image, shape)
        return await asyncio.to_thread(read_image, image, shape)

    async def compare(self, name: str, pixels: np.ndarray, logits: np.ndarray) -> None:
        """Ask the shadow about an image that was answered, and count whether it agrees."""
        shadow, agreement = self.shadows[name]
        theirs = await self.batchers[shadow].ask(pixels)
        same = bool(theirs.argmax() == logits.argmax())
        self.meters.compared.labels(name, shadow).inc()
        self.meters.agreed.labels(name, shadow).inc(same)
        self.meters.alarm.labels(name, shadow).set(agreement.update(same))


def create_app(service: Service) -> FastAPI:
    """The HTTP side of a service: its API, its page, its models as files."""
    app = FastAPI(title="kdlab", version="1", lifespan=service.lifespan, docs_url=None)
    refuse(app)
    Name = Literal[tuple(service.batchers)]
    binary = {"schema": {"type": "string", "format": "binary"}}
    forms = {"schema": pixels_schema()}
    content = {kind: forms if kind.endswith("json") else binary for kind in KINDS}
    failures = {code: {"model": Failure, "description": why} for code, why in FAILURES.items()}

    @app.post(
        "/predict",
        summary="Classify one image",
        responses={200: {"model": Answer}} | failures,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    async def predict(
        request: Request,
        model: Annotated[Name, Query(description="which model answers")],
        temperature: Annotated[float, Query(ge=0.05, le=100, allow_inf_nan=False)] = 1.0,
    ) -> Response:
        """The image may have any size up to the limit: its middle square is scaled to the model's.

        The MNIST models expect a white digit on black, as MNIST has it.
        """
        return JSONResponse(await service.predict(request, model, temperature))

    @app.get("/health", summary="Whether it works, and whether the drift alarm rings")
    async def health() -> dict:
        ringing = [name for name, (_, agreement) in service.shadows.items() if agreement.alarm]
        return {"status": "ok", "models": list(service.batchers), "drift_alarm": ringing}

    @app.get("/metrics", summary="Prometheus text", response_class=PlainTextResponse)
    async def metrics() -> Response:
        service.meters.at_once.set(service.at_once)
        text = generate_latest(service.meters.registry)
        return Response(text, media_type="text/plain; version=0.0.4")

    @app.get("/models", summary="The models, their classes and their size")
    async def models() -> list[dict]:
        size = {name: path.stat().st_size for name, path in service.paths.items()}
        about = service.about.items()
        return [note | {"shape": service.shapes[n], "bytes": size[n]} for n, note in about]

    @app.get("/models/{name}.onnx", include_in_schema=False)
    async def model_file(name: str) -> Response:
        if name not in service.paths:
            raise HTTPException(404, f"no model {name[:60]}")
        return FileResponse(service.paths[name], media_type="application/octet-stream")

    @app.get("/ort-wasm-simd.wasm", include_in_schema=False)
    def wasm() -> Response:
        kept = {"Cache-Control": "public, max-age=86400"}
        return Response(unpacked_wasm(), media_type="application/wasm", headers=kept)

    for path, name in PAGES.items():
        app.get(path, include_in_schema=False)(sender(WEB / name))
    app.add_middleware(count_answers, meters=service.meters)
    return app


def sender(file: Path):
    """A handler that answers with this file of the page."""

    async def send() -> Response:
        return FileResponse(file)

    return send


@cache
def unpacked_wasm() -> bytes:
    """ONNX Runtime Web's WebAssembly; the clone has it compressed."""
    return lzma.decompress(WASM.read_bytes())


def refuse(app: FastAPI) -> None:
    """Every failure of a request is {"error": one sentence}; nothing of the inside is told."""

    async def told(request: Request, error: StarletteHTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    async def broken(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "the service failed; the request was not answered"}, 500)

    app.add_exception_handler(StarletteHTTPException, told)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, broken)


@contextmanager
def told_as(status: int, sentence: str):
    """A time-out inside becomes this status."""
    try:
        yield
    except asyncio.TimeoutError:
        raise HTTPException(status, sentence) from None


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body, no more than the limit and no slower."""
    told = request.headers.get("content-length", "")
    too_large = HTTPException(413, f"a body may have {limits.body:,} bytes at most")
    if told.isdigit() and int(told) > limits.body:
        raise too_large

    async def whole() -> bytes:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > limits.body:
                raise too_large
        return bytes(body)

    with told_as(408, "the body came too slowly"):
        return await asyncio.wait_for(whole(), limits.seconds)


def read_shadows(given: Sequence[str]) -> dict[str, tuple[str, Agreement]]:
    """ "NAME:SHADOW:SHARE:IMAGES": the two should agree on this share, as they did on so many."""
    shadows = {}
    for words in given:
        try:
            name, shadow, share, images = words.rsplit(":", 3)
            shadows[name] = shadow, Agreement(float(share), int(images))
        except ValueError as error:
            raise ValueError(
                f"--shadow is NAME:SHADOW:SHARE:IMAGES, not {words} ({error})"
            ) from None
    return shadows


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. OSError in one sentence if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off (40 ms an answer) only where the protocol is named
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise OSError(f"cannot listen on {host}:{port} ({error}): choose another --port") from None
    return taken


def serve(app: FastAPI, listening: socket.socket, started=lambda: None) -> None:
    """Run until Ctrl-C; `started` is called once requests are answered."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            started()

    settings = {"log_level": "error", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, timeout_graceful_shutdown=5, timeout_keep_alive=30, **settings)
    with suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listening])

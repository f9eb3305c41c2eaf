"""kdlab.lab.hardware: what is said about a machine, and where things go."""

import getpass
import json
import math
import os
import platform

import pytest
import torch

from kdlab import models
from kdlab.files import ROOT, cache_dir
from kdlab.lab import hardware
from kdlab.lab.hardware import cores, describe, processor
from kdlab.models import autocast, has_fast_bf16


def test_description_has_what_a_record_needs_and_no_names():
    about = describe()
    assert {*about} == {*"processor cores accelerator bfloat16 system python torch".split()}
    assert about["cores"] >= 1 and about["accelerator"] == "none"
    text = json.dumps(about)
    assert json.loads(text) == about and about["torch"] == torch.__version__
    for private in (platform.node(), getpass.getuser(), str(ROOT)):
        assert len(private) < 5 or private not in text


def test_processor_is_named_everywhere(monkeypatch):
    assert processor() == processor().strip() != ""
    monkeypatch.setattr(hardware.Path, "is_file", lambda self: False)  # no /proc: macOS, Windows
    assert processor() != ""


def test_cores_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda who: {0: range(8)}[who], raising=False)
    for quota, count in {0.5: 1, 2.9: 2, 64.0: 8, math.inf: 8}.items():
        monkeypatch.setattr(hardware, "quota", lambda quota=quota: quota)
        assert cores() == count
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS, Windows
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize(
    "groups, files, processors",
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a", {"a/cpu.max": "400000 100000", "cpu.max": "300000 100000"}, 3),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/../b", {}, math.inf),  # of another container, which is not seen here
        ("7:memory:/m\n1:cpu,cpuacct:/d", {"d/quota": "250000", "d/period": "100000"}, 2.5),
        ("1:cpu:/d\n0::/", {"quota": "50000", "period": "100000"}, 0.5),
        ("1:cpu:/", {"quota": "-1", "period": "100000"}, math.inf),
    ],
)
def test_a_container_s_quota_is_heeded(tmp_path, groups, files, processors):
    (tmp_path / "cgroup").write_text(groups + "\n")
    for name, text in files.items():
        *folders, last = name.split("/")
        version1 = [] if last == "cpu.max" else ["cpu"]
        path = tmp_path.joinpath(*version1, *folders, f"cpu.cfs_{last}_us" if version1 else last)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert hardware.quota(tmp_path / "cgroup", tmp_path) == processors
    assert hardware.quota(tmp_path / "none", tmp_path) == math.inf  # not Linux


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KDLAB_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.setenv("KDLAB_CACHE", "")
    assert cache_dir() == ROOT / "build" / "cache"


@pytest.mark.parametrize("fast", [True, False])
def test_autocast_only_where_it_pays(monkeypatch, fast):
    monkeypatch.setattr(models, "has_fast_bf16", lambda device="cpu": fast)
    with autocast("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if fast else torch.float32)


def test_bfloat16_can_be_switched_off(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.delenv("KDLAB_BFLOAT16", raising=False)
    assert has_fast_bf16.__wrapped__("cpu") is True
    monkeypatch.setenv("KDLAB_BFLOAT16", "off")
    assert has_fast_bf16.__wrapped__("cpu") is has_fast_bf16.__wrapped__("cuda") is False


def test_bfloat16_is_detected_not_assumed(monkeypatch):
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, probe, raising=False)
    assert has_fast_bf16.__wrapped__("cpu") is False  # a torch without the probes

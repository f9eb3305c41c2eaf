"""The command: from a folder and a teacher to a verdict, and nothing is run twice."""

import json

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from kdlab.__main__ import app
from kdlab.apps import onnx_file
from kdlab.apps.distil import distil as distil_in_python
from kdlab.apps.distil import handover
from kdlab.apps.distil.photos import read_photos
from kdlab.apps.pixels import fit_pixels
from kdlab.apps.serving import runtime
from kdlab.apps.serving.service import Service, create_app
from kdlab.data import normalise
from kdlab.models import cnn3

MINE = """
import torch
from torch import nn
def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(12, 7))
def seven(classes):
    return small(7)
class Odd(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net = small(classes)
    def forward(self, images):
        # nothing that ONNX has
        return self.net(images) + torch.linalg.eigvals(images[0, 0, :4, :4]).real.sum() * 0
def odd(classes):
    return Odd(classes)
def small(classes):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
    net.pool, net.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net.out = nn.Linear(4, classes)
    return net
def turned_round():
    net = make_two()
    with torch.no_grad():
        net[2].weight.neg_()
    return net
def make_two():
    net = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():  # blue or red
        net[2].weight.copy_(torch.tensor([[-9.0, 0.0, 9.0], [9.0, 0.0, -9.0]]))
    return net
"""
HOW = ["--teacher-size", "16", "--teacher-mean", ".5,.5,.5", "--teacher-std", ".25,.25,.25"]
SHORT = ["--student", "cnn3-8", "--seeds", "2", "--updates", "2"]


@pytest.fixture
def place(tmp_path):
    """Blue and red noise, and a file that makes teachers."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "broken.py").write_text("1 / 0")
    for k, name in enumerate(("blue", "red")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for n in range(20):
            levels = np.random.default_rng([k, n]).integers(0, 150, (20, 20, 3))
            levels[..., 2 - 2 * k] += 100
            image = Image.fromarray(levels.astype(np.uint8))
            image.save(tmp_path / "photos" / name / f"{n}.png")
    return tmp_path


def distil(place, teacher, *options):
    command = ["distil", "--data", place / "photos", "--teacher", f"{place}/mine.py:{teacher}"]
    command += ["--out", place / "runs", *HOW, *SHORT, *options]
    return CliRunner().invoke(app, [str(word) for word in command])


def test_from_a_folder_to_a_verdict_and_nothing_is_run_twice(place):
    before = sorted(place.rglob("*"))
    first = distil(place, "make_model", "--labels-share", "0.5")
    assert first.exit_code == 0, first.output
    assert "the teacher has 7 outputs, not your 2 classes: a linear probe" in first.output
    assert "12 labelled photos to learn from, 26 in all, 6 to choose on, 8 to test" in first.output
    assert "the teacher's answers minus labels, twice as long: " in first.output
    assert "\nVerdict: " in first.output
    runs = json.loads((place / "runs" / "runs.json").read_text())
    assert len(runs["trials"]) <= 18 and len(runs["runs"]) == 6
    assert runs["command"].startswith("python -m kdlab distil --data ")
    again = distil(place, "make_model", "--labels-share", "0.5")
    assert again.output.count(", seed ") == 0 and "asked the teacher" not in again.output
    assert again.output.splitlines()[-10:] == first.output.splitlines()[-10:]
    outside = [p for p in sorted(place.rglob("*")) if "runs" not in p.parts]
    assert [p for p in outside if "__pycache__" not in p.parts] == before


def test_outputs_of_as_many_classes_are_taken_as_they_are(place):
    done = distil(place, "make_two")
    assert "taken for your classes in the order blue, red" in done.output
    assert "the teacher is right about 100.0% of the validation photos" in done.output


def test_a_teacher_near_chance_is_noticed(place):
    done = distil(place, "make_two", "--teacher-mean", "60,.5,.5")
    assert "that is near chance (50%): are its size, mean and std right" in done.output


def test_classes_in_another_order_are_noticed(place):
    assert "by other names; are its classes in the order" in distil(place, "turned_round").output
    right = distil(place, "make_two", "--out", str(place / "right"))
    assert "by other names" not in right.output and "near chance" not in right.output


@pytest.mark.parametrize(("options", "message"), [
    (["--teacher-mean", "1,2"], "three numbers with commas are needed"),
    (["--data", "nowhere"], "nowhere is no folder"),
    (["--out", "{place}/photos/runs"], "lies in the folder of the photos"),
    (["--out", "{place}"], "has other files: name a new folder"),
    (["--student", "cnn99"], "no model 'cnn99'"),
    (["--student", "gru-64", "--size", "64"], "gru-64 does not take photos of 64 x 64 pixels"),
    (["--student", "{place}/mine.py:make_two"], "takes 0 positional arguments"),
    (["--student", "{place}/mine.py:seven"], "gives [2, 7] for 2 photos and 3 classes"),
    (["--student", "{place}/mine.py:nobody"], "has no function 'nobody'"),
    (["--student", "torchvision:resnet19"], "torchvision has no model 'resnet19'"),
    (["--teacher", "{place}/broken.py:f"], "broken.py can't be run: ZeroDivisionError"),
    (["--arm", "sideways"], "there are same-labels, same-views, features"),
    (["--arm", "features", "--method", "DKD"], "no feature method 'DKD' without labels"),
    (["--arm", "features"], "name --student-stage (of stage1"),
    (["--language", "fr"], "the language is 'en', 'zh' or 'both'"),
])  # fmt: skip
def test_what_goes_wrong_is_one_sentence(place, options, message):
    done = distil(place, "make_model", *(word.format(place=place) for word in options))
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert message in done.output.splitlines()[-1] and done.output.splitlines()[-1][:6] == "kdlab:"


def test_other_photos_or_labels_are_another_comparison(place):
    assert distil(place, "make_two").exit_code == 0
    kept = {path: path.read_bytes() for path in (place / "runs").iterdir()}
    fewer = distil(place, "make_two", "--labels-share", "0.5")
    image = Image.open(place / "photos" / "red" / "0.png").transpose(Image.Transpose.ROTATE_90)
    image.save(place / "photos" / "red" / "0.png")
    changed = distil(place, "make_two")
    for done in (fewer, changed):
        assert done.exit_code == 1 and "holds another comparison" in done.output
    assert {path: path.read_bytes() for path in (place / "runs").iterdir()} == kept


def test_the_student_is_a_file_that_the_service_answers_with_as_torch_does(place, monkeypatch):
    kept = []

    def write(net, *about, **notes):
        kept.append(net)
        return onnx_file.write_onnx(net, *about, **notes)

    monkeypatch.setattr(handover, "write_onnx", write)
    assert distil(place, "make_model", "--size", "24").exit_code == 0
    path = place / "runs" / "student.onnx"
    about = runtime.metadata(runtime.open_model(path))
    assert about["classes"] == ["blue", "red"] and about["shape"] == [3, 24, 24]
    assert about["name"] == "runs-student" and "middle square" in about["photo"]
    photos = read_photos(place / "photos", 24, place / "again.npy")
    photo = place / "photos" / "red" / "7.png"
    with Image.open(photo) as image:
        pixels = torch.tensor(fit_pixels(image, (3, 24, 24)))[None]
    with torch.no_grad():
        wanted = kept[-1].eval()(normalise(pixels, photos.train)).softmax(dim=1)[0]
    with TestClient(create_app(Service([path]))) as client:
        answer = client.post(
            "/predict?model=runs-student",
            content=photo.read_bytes(),
            headers={"content-type": "image/png"},
        ).json()
    assert list(answer["probabilities"]) == ["blue", "red"]
    assert list(answer["probabilities"].values()) == pytest.approx(wanted.tolist(), abs=1e-4)
    path.unlink()  # it is made again, by the one run that makes it
    again = distil(place, "make_model", "--size", "24")
    assert path.is_file() and again.output.count(", seed ") == 1, again.output


def test_a_student_of_a_file_and_every_arm_on_request(place):
    arms = [word for name in ("same-labels", "same-views", "features") for word in ("--arm", name)]
    stages = ["--student-stage", "flatten", "--match-stage", "1"]
    student = ["--student", f"{place}/mine.py:small"]
    done = distil(place, "make_model", *student, *arms, *stages, "--language", "zh")
    assert done.exit_code == 0, done.output
    record = json.loads((place / "runs" / "runs.json").read_text())
    ran = {run["arm"] for run in record["runs"]}
    assert len(ran) == 6 and {"teacher, same views", "teacher, features"} < ran
    tried = {arm: [t for t in record["trials"] if t["arm"] == arm] for arm in record["chosen"]}
    assert len(tried) == 7 and {len(trials) for trials in tried.values()} <= {4, 5, 6}
    assert len({trial["weight"] for trial in tried["teacher, features"]}) >= 4
    assert len(record["about"]["family"]) == 5
    assert "教师模型的输出加特征 减 教师模型的输出" in done.output and "结论：" in done.output
    again = distil(place, "make_model", *student, *arms, *stages)
    assert again.exit_code == 0 and "seed 0" not in again.output, again.output


def test_the_form_in_python_takes_a_module_and_a_function(place):
    torch.manual_seed(0)
    net = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(12, 5))
    how = {"teacher_size": 16, "teacher_mean": (0.5,) * 3, "teacher_std": (0.25,) * 3}
    how |= {"student": lambda classes: cnn3(8, classes), "seeds": 2, "updates": 2}
    said = []
    result = distil_in_python(
        str(place / "photos"), net, place / "runs", **how, language="zh", say=said.append
    )
    assert result.verdict.word in ("ship", "undecided", "do not") and "结论：" in str(result)
    assert list(result.table.index) == ["labels", "labels, twice as long", "teacher"]
    gap = result.gaps["teacher", "labels"]
    assert gap.low <= gap.mean <= gap.high and result.report.is_file() and result.student.is_file()
    assert any("线性探针" in line for line in said)
    before = result.report.read_text("utf-8")
    distil_in_python(place / "photos", net, place / "runs", **how, language="zh", say=said.append)
    assert result.report.read_text("utf-8") == before  # the very same comparison
    with pytest.raises(ValueError, match="holds another comparison"):
        distil_in_python(place / "photos", net, place / "runs", **how | {"size": 16}, say=print)


def test_a_student_that_can_not_be_onnx_is_compared_all_the_same(place):
    done = distil(place, "make_model", "--student", f"{place}/mine.py:odd")
    assert done.exit_code == 0 and "this student can't be written as ONNX" in done.output
    assert "Verdict: " in done.output and "Student: " not in done.output
    assert not (place / "runs" / "student.onnx").exists()
    assert "serve --model" not in (place / "runs" / "report.html").read_text("utf-8")

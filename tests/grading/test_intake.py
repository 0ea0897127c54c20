"""Everybody who handed in anything gets one submission, under their own name, whatever it was."""

import datetime
import io
import json
import logging
import os
import random
import stat
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from genimg_ref.grading import files, intake, notebook
from genimg_ref.grading.intake import collect
from genimg_ref.grading.results import Source, Submission

UTC = datetime.timezone.utc


def ipynb(code: str = "x = 1") -> bytes:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": code}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}).encode()


def tree(root: Path, *paths: str) -> Path:
    """Files below ``root``, each a notebook or script that holds its own path as a comment."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ipynb(f"# {path}") if path.endswith(".ipynb") else f"# {path}".encode())
    return root


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name that comes twice
        for name, content in members:
            archive.writestr(name, content, compress_type=method)
    return file.getvalue()


def as_zip(folder: Path, path: Path) -> Path:
    names = sorted(file for file in folder.rglob("*") if file.is_file())
    path.write_bytes(zipped(*((str(file.relative_to(folder)), file.read_bytes()) for file in names)))
    return path


def by_student(submissions: Iterable[Submission]) -> dict[str, list[str]]:
    return {s.student: [source.name for source in s.sources] for s in submissions}


def only(submissions: list[Submission]) -> Submission:
    assert len(submissions) == 1, submissions
    return submissions[0]


def problem(submission: Submission) -> str:
    assert len(submission.sources) == 1, submission
    assert submission.sources[0].cells == ()
    return submission.sources[0].problem


# --- Plain folders and files --------------------------------------------------------------------------


def test_a_folder_for_each_student(tmp_path: Path) -> None:
    tree(tmp_path, "bob/dcgan.ipynb", "alice/week/gan_math.ipynb", "alice/dcgan.py", "alice/notes.txt")
    found = collect(tmp_path)
    assert by_student(found) == {"alice": ["dcgan.py", "gan_math.ipynb"], "bob": ["dcgan.ipynb"]}
    assert found[0].sources[1].cells == ("# alice/week/gan_math.ipynb",)
    assert [s.problem for s in found[0].sources] == ["", ""]
    assert (found[0].name, found[0].submitted, found[0].identifiers) == ("alice", None, {})


@pytest.mark.parametrize(
    "file",
    [
        "alice_gan_math.ipynb",
        "gan_math_alice.ipynb",
        "gan-math-alice.ipynb",
        "dcgan-alice.ipynb",
        "alice DCGAN.py",
        "alice.dcgan.ipynb",
        "Gan Math - alice.ipynb",
        "alice.ipynb",
    ],
)
def test_files_called_after_students(tmp_path: Path, file: str) -> None:
    assert by_student(collect(tree(tmp_path, file, "README.md", "roster.csv"))) == {"alice": [file]}


def test_both_files_of_a_student_meet(tmp_path: Path) -> None:
    tree(tmp_path, "alice_gan_math.ipynb", "dcgan-alice.ipynb", "alice/more.py", "alicedcgan.ipynb")
    assert by_student(collect(tmp_path)) == {
        "alice": ["more.py", "alice_gan_math.ipynb", "dcgan-alice.ipynb"],
        "alicedcgan": ["alicedcgan.ipynb"],
    }


def test_files_called_after_nobody_are_of_whom_the_folder_is(tmp_path: Path) -> None:
    folder = tree(tmp_path / "alice", "gan_math.ipynb", "dcgan.ipynb")
    assert by_student(collect(folder)) == {"alice": ["dcgan.ipynb", "gan_math.ipynb"]}
    assert by_student(collect(as_zip(folder, tmp_path / "carol.zip"))) == {
        "carol": ["dcgan.ipynb", "gan_math.ipynb"]
    }


@pytest.mark.parametrize(
    ("file", "student"), [("alice.ipynb", "alice"), ("bob_dcgan.py", "bob"), ("dcgan.ipynb", "dcgan")]
)
def test_a_single_file(tmp_path: Path, file: str, student: str) -> None:
    assert by_student(collect(tree(tmp_path, file) / file)) == {student: [file]}


def test_what_systems_leave_behind_is_ignored(tmp_path: Path) -> None:
    tree(tmp_path, "alice/a.ipynb", "alice/.ipynb_checkpoints/a-checkpoint.ipynb", "alice/.hidden.py")
    tree(tmp_path, "__MACOSX/alice/._a.ipynb", ".git/hooks/x.py", "alice/__pycache__/a.py", ".DS_Store")
    assert by_student(collect(tmp_path)) == {"alice": ["a.ipynb"]}
    assert by_student(collect(as_zip(tmp_path, tmp_path / "all.zip"))) == {"alice": ["a.ipynb"]}


def test_who_handed_in_nothing_that_can_be_read_has_a_row(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    tree(tmp_path, "other/report.pdf", "broken/a.ipynb")
    (tmp_path / "broken" / "a.ipynb").write_bytes(b"<html>")
    broken, empty, other = collect(tmp_path)
    assert (empty.student, empty.sources) == ("empty", ())
    assert other.sources[0].name == "report.pdf"
    assert problem(other) == "It is no notebook, no .py file and no zip."
    assert "web page" in problem(broken)


def test_what_is_not_there_is_an_error_and_what_is_no_submission_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        collect(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        collect(tmp_path / "nowhere.ipynb")
    tree(tmp_path, "notes.txt")
    assert collect(tmp_path / "notes.txt") == []
    assert collect(tmp_path) == []


# --- Keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Zoë Müller", "Zoe-Muller"),
        ("O'Neil, Pat", "O-Neil-Pat"),
        ("a.b_c-d", "a.b_c-d"),
        ("-rf", "rf"),
        ("a" * 100, "a" * 60),
        ("=cmd|x", "cmd-x"),
    ],
)
def test_a_key_can_be_the_name_of_a_file_and_the_name_is_kept(tmp_path: Path, name: str, key: str) -> None:
    submission = only(collect(tree(tmp_path, f"{name}/a.ipynb")))
    assert (submission.student, submission.name) == (key, name)


@pytest.mark.parametrize("name", ["李明", "...", "_", " ", "\udcff", "\n", "‮x"])
def test_every_name_has_a_safe_key(tmp_path: Path, name: str) -> None:
    submission = only(
        collect(tree(tmp_path, f"{name}/a.ipynb") if name[0] != "." else _in_zip(tmp_path, name))
    )
    assert submission.student.strip(".-_")
    assert set(submission.student) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert submission.name.isprintable()


def _in_zip(tmp_path: Path, name: str) -> Path:
    path = tmp_path / f"{name}x.zip"
    path.write_bytes(zipped(("dcgan.ipynb", ipynb())))
    return path


def test_students_whose_names_look_alike_stay_two(tmp_path: Path) -> None:
    names = ["Zoë", "Zoe", "ZOE", "Zoe!", "Zo\u00e9", "a" * 70, "a" * 71, "李明", "王芳"]
    found = collect(tree(tmp_path, *(f"{name}/{k}.ipynb" for k, name in enumerate(names))))
    assert len({s.student.lower() for s in found}) == len(names)
    assert {s.name: [source.name for source in s.sources] for s in found} == {
        name: [f"{k}.ipynb"] for k, name in enumerate(names)
    }
    assert all(len(s.student) <= 100 for s in found)


def test_one_name_in_two_spellings_of_unicode_is_one_student(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(zipped(("Zoe\u0308/a.ipynb", ipynb()), ("Zo\u00eb/b.ipynb", ipynb())))
    assert by_student(collect(path)) == {"Zoe": ["a.ipynb", "b.ipynb"]}


def test_a_key_that_somebody_made_up_to_be_anothers_changes_nothing(tmp_path: Path) -> None:
    first = {s.student for s in collect(tree(tmp_path, "A B/a.ipynb", "A+B/a.ipynb"))}
    assert len(first) == 2
    tree(tmp_path, *(f"{key}/a.ipynb" for key in first))
    found = collect(tmp_path)
    assert len({s.student.lower() for s in found}) == len(found) == 4


def test_a_key_that_somebody_foresaw_changes_nothing(tmp_path: Path) -> None:
    tree(tmp_path, "A B_1_assignsubmission_file/a.ipynb", "A+B_1_assignsubmission_file/a.ipynb")
    first = {s.student for s in collect(tmp_path)}
    tree(tmp_path, *(f"{key}/a.ipynb" for key in first))
    found = collect(tmp_path)
    assert len({s.student.lower() for s in found}) == len(found) == 4


def test_the_order_and_the_keys_are_the_same_every_time(tmp_path: Path) -> None:
    tree(tmp_path, "b/x.ipynb", "B/x.ipynb", "a/2.py", "a/1.py", "c/z/1.py", "c/1.py")
    assert collect(tmp_path) == collect(tmp_path)
    found = collect(tmp_path)
    assert [s.student for s in found] == sorted(s.student for s in found)


# --- Exports ------------------------------------------------------------------------------------------

CANVAS = [
    "lovelaceada_LATE_1234_900_gan_math.ipynb",
    "lovelaceada_LATE_1234_901_dcgan-1.ipynb",
    "hopper_grace_77_902_my_1_2_answers.ipynb",
    "liming_5_903_report.pdf",
    "turingalan_6_text.html",
    "noetheremmy_LATE_7_link.html",
]


@pytest.mark.parametrize("packed", [False, True])
def test_canvas(tmp_path: Path, packed: bool, caplog: pytest.LogCaptureFixture) -> None:
    folder = tree(tmp_path / "files", *CANVAS)
    with caplog.at_level(logging.WARNING):
        found = {
            s.student: s for s in collect(as_zip(folder, tmp_path / "submissions.zip") if packed else folder)
        }
    assert list(found) == ["hopper_grace", "liming", "lovelaceada", "noetheremmy", "turingalan"]
    assert {s.student: s.identifiers["canvas_id"] for s in found.values()} == {
        "lovelaceada": "1234",
        "hopper_grace": "77",
        "liming": "5",
        "turingalan": "6",
        "noetheremmy": "7",
    }
    assert [source.name for source in found["lovelaceada"].sources] == CANVAS[:2]
    assert all(s.submitted is None for s in found.values())
    assert "no notebook" in problem(found["liming"])
    assert "no notebook" in problem(found["turingalan"])
    assert "lovelaceada, noetheremmy" in caplog.text


def test_canvas_students_of_one_name_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    tree(tmp_path, "smithjo_12_900_a.ipynb", "smithjo_LATE_13_901_a.ipynb", "Smithjo_14_902_b.ipynb")
    assert by_student(collect(tmp_path)) == {
        "smithjo-12": ["smithjo_12_900_a.ipynb"],
        "smithjo-13": ["smithjo_LATE_13_901_a.ipynb"],
        "Smithjo-14": ["Smithjo_14_902_b.ipynb"],
    }


def test_canvas_numbers_alone_make_nobody_the_same(tmp_path: Path) -> None:
    found = collect(tree(tmp_path, "ada_12_900_a.ipynb", "mallory_12_901_a.ipynb"))
    assert [s.student for s in found] == ["ada", "mallory"]


def test_canvas_anonymous(tmp_path: Path) -> None:
    tree(tmp_path, "anon_x7Y2z_900_dcgan.ipynb", "LATE_anon_Qr5Ts_901_dcgan.ipynb")
    found = collect(tmp_path)
    assert [s.student for s in found] == ["anon_Qr5Ts", "anon_x7Y2z"]
    assert found[1].identifiers == {"canvas_anonymous_id": "x7Y2z"}


def test_what_only_looks_like_canvas_is_not_merged(tmp_path: Path) -> None:
    tree(tmp_path, "hw_1_2_alice.ipynb", "hw_1_2_bob.ipynb", "2026_12_01_carol.ipynb", "2026_12_01_dan.ipynb")
    assert len(collect(tmp_path)) == 4


@pytest.mark.parametrize("packed", [False, True])
def test_moodle(tmp_path: Path, packed: bool) -> None:
    folder = tree(
        tmp_path / "files",
        "Ada Lovelace_101_assignsubmission_file/gan_math.ipynb",
        "Ada Lovelace_101_assignsubmission_file/sub/dcgan.ipynb",
        "Ada Lovelace_101_assignsubmission_onlinetext/onlinetext.html",
        "Grace Hopper_102_assignsubmission_file_/dcgan.ipynb",
        "Ada Lovelace_103_assignsubmission_file_dcgan.ipynb",
        "Ada Lovelace_103_assignsubmission_file_x_9_assignsubmission_file_y.py",
        "Participant_104_assignsubmission_file/a.pdf",
        "Default group_assignsubmission_file/a.ipynb",
    )
    found = collect(as_zip(folder, tmp_path / "course-hw1-55.zip") if packed else folder)
    assert {(s.student, s.name, s.identifiers.get("moodle_id")) for s in found} == {
        ("Ada-Lovelace-101", "Ada Lovelace", "101"),
        ("Ada-Lovelace-103", "Ada Lovelace", "103"),
        ("Grace-Hopper", "Grace Hopper", "102"),
        ("Participant", "Participant", "104"),
        ("Default-group", "Default group", None),
    }
    sizes = {s.student: len(s.sources) for s in found}
    assert (sizes["Ada-Lovelace-101"], sizes["Ada-Lovelace-103"]) == (2, 2)


METADATA = """\
submission_11:
  :submitters:
  - :name: Ada Lovelace
    :sid: '0042'
    :email: ada@example.org
  :created_at: 2026-11-30 21:58:08.144790000 Z
  :score: 3.0
  :status: processed
  :results:
    tests: []
  :history: []
submission_12:
  :submitters:
  - :name: Pair One
    :sid:
    :email: one@example.org
  - :name: Pair Two
    :sid: 43
    :email: two@example.org
  :created_at: 2026-12-01 00:00:00 +01:00
submission_13:
  :submitters:
  - :name: Gone
    :email: gone@example.org
  :created_at: !ruby/object:ActiveSupport::TimeWithZone
    utc: 2026-12-01 00:00:00 Z
submission_14:
  :submitters: []
  :created_at: '2026-12-01T10:00:00Z'
"""


@pytest.mark.parametrize("kind", ["inside", "outside", "zip"])
def test_gradescope(tmp_path: Path, kind: str) -> None:
    export = tree(tmp_path / "x" / "assignment_7_export", *(f"submission_{k}/a.ipynb" for k in (11, 12, 14)))
    (export / "submission_metadata.yml").write_text(METADATA)
    path = {"inside": export, "outside": export.parent}.get(kind) or as_zip(export.parent, tmp_path / "s.zip")
    found = {s.student: s for s in collect(path)}
    assert list(found) == ["Ada-Lovelace", "Gone", "Pair-One", "Pair-Two", "submission_14"]
    ada = found["Ada-Lovelace"]
    assert ada.submitted == datetime.datetime(2026, 11, 30, 21, 58, 8, 144790, tzinfo=UTC)
    assert ada.identifiers == {"sis_id": "0042", "email": "ada@example.org", "gradescope_id": "11"}
    assert found["Pair-One"].sources == found["Pair-Two"].sources
    assert found["Pair-One"].sources[0].cells == ("# submission_12/a.ipynb",)
    assert found["Pair-Two"].submitted == datetime.datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert (found["Gone"].sources, found["Gone"].submitted) == ((), None)
    assert found["submission_14"].submitted == datetime.datetime(2026, 12, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["[1, 2]", "{", "a: !!python/object/apply:os.getpid []", "\x00", "&a [*a" * 3]
)
def test_gradescope_metadata_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    (tree(tmp_path, "submission_11/a.ipynb") / "submission_metadata.yml").write_text(text)
    with pytest.raises(ValueError, match=r"submission_metadata\.yml"):
        collect(tmp_path)


@pytest.mark.parametrize(
    "text", ["a: 1", "a: {':submitters': 3}", "a: {':submitters': [3], ':created_at': 2026}"]
)
def test_gradescope_metadata_of_another_form_names_nobody(tmp_path: Path, text: str) -> None:
    (tree(tmp_path, "submission_11/a.ipynb") / "submission_metadata.yml").write_text(text)
    assert [s.student for s in collect(tmp_path)] == ["a", "submission_11"]


def test_github_classroom(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "hw-1-submissions", "hw-1-ada-l/notebooks/dcgan.ipynb", "hw-1-bob/x.py", "extra/x.py"
    )
    tree(root, "hw-1-ada-l/.github/workflows/classroom.yml", "hw-1-ada-l/.git/hooks/a.py")
    found = collect(root)
    assert by_student(found) == {"ada-l": ["dcgan.ipynb"], "bob": ["x.py"], "extra": ["x.py"]}
    assert found[0].identifiers == {"github": "ada-l"}
    found = collect(tree(root, "bob/y.py"))  # is not the repository of bob
    assert sorted(by_student(found).values()) == [["dcgan.ipynb"], ["x.py"], ["x.py"], ["y.py"]]


@pytest.mark.parametrize("name", ["submissions.zip", "submissions (1).zip"])
def test_the_folder_that_a_desktop_compressed_is_no_student(tmp_path: Path, name: str) -> None:
    folder = tree(tmp_path / "x", "submissions/alice/a.ipynb", "submissions/bob/b.ipynb")
    assert by_student(collect(as_zip(folder, tmp_path / name))) == {"alice": ["a.ipynb"], "bob": ["b.ipynb"]}


# --- The instructor's own pattern ---------------------------------------------------------------------


def test_a_pattern_says_who_and_what_counts(tmp_path: Path) -> None:
    tree(tmp_path, "hw1/s1 - Ada/final.ipynb", "hw1/s1 - Ada/draft.ipynb", "hw1/s2 - Bob/final.ipynb", "x.py")
    found = collect(tmp_path, r"^hw1/(?P<student>s\d+) - (?P<name>[^/]+)/final")
    assert [(s.student, s.name, [x.name for x in s.sources]) for s in found] == [
        ("s1", "Ada", ["final.ipynb"]),
        ("s2", "Bob", ["final.ipynb"]),
    ]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(", "no regular expression"),
        ("(.*)", "no group"),
        ("(?P<student>z+)", "none of the paths: a/x.ipynb"),
    ],
)
def test_a_pattern_that_is_wrong(tmp_path: Path, pattern: str, told: str) -> None:
    with pytest.raises(ValueError) as error:
        collect(tree(tmp_path, "a/x.ipynb"), pattern)
    assert told in str(error.value)


# --- Links, pipes, devices ----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["secret.ipynb", "folder", "nowhere", "/etc/passwd", "."])
@pytest.mark.parametrize("name", ["a.ipynb", "a.zip", "work", "data.csv"])
def test_links_are_not_followed(tmp_path: Path, target: str, name: str) -> None:
    tree(tmp_path, "secret.ipynb", "folder/secret.ipynb", "in/bob/dcgan.ipynb")
    (tmp_path / "in" / "alice").mkdir()
    (tmp_path / "in" / "alice" / name).symlink_to(tmp_path / target)
    alice, bob = collect(tmp_path / "in")
    assert alice.sources[0].name == name
    assert "links are not followed" in problem(alice)
    assert bob.sources[0].problem == ""


def test_a_student_who_is_a_link_has_a_row(tmp_path: Path) -> None:
    (tmp_path / "alice").symlink_to("/etc")
    (tmp_path / "bob_dcgan.ipynb").symlink_to("/etc/passwd")
    alice, bob = collect(tmp_path)
    assert (alice.student, bob.student) == ("alice", "bob")
    assert "links are not followed" in problem(alice)
    assert "links are not followed" in problem(bob)


@pytest.mark.parametrize("name", ["alice.ipynb", "alice.zip", "alice.py"])
def test_the_file_handed_to_the_grader_may_be_no_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "real").write_bytes(ipynb())
    (tmp_path / name).symlink_to(tmp_path / "real")
    submission = only(collect(tmp_path / name))
    assert submission.student == "alice"
    assert "links are not followed" in problem(submission)


@pytest.mark.parametrize("name", ["a.ipynb", "a.py", "a.zip"])
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    (tmp_path / "alice").mkdir()
    os.mkfifo(tmp_path / "alice" / name)
    assert "pipe" in problem(only(collect(tmp_path)))
    assert "pipe" in problem(only(collect(tmp_path / "alice" / name)))


def test_devices_and_sockets_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(files.Refused, match="pipe, a device"):
        files.read_file(Path("/dev/zero"))
    with pytest.raises(files.Refused, match="cannot be opened"):
        files.read_file(tmp_path / "nowhere")


def test_what_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: object, *_: object) -> None:
        raise PermissionError(13, "Permission denied")

    tree(tmp_path, "alice/a.ipynb")
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "open", denied)
        assert "cannot be opened (Permission denied)" in problem(only(collect(tmp_path)))
    scandir = os.scandir
    monkeypatch.setattr(files.os, "scandir", lambda p: denied(p) if Path(p).name == "alice" else scandir(p))
    assert "folder cannot be read (Permission denied)" in problem(only(collect(tmp_path)))


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    tree(tmp_path, "alice/a.ipynb")
    os.truncate(tmp_path / "alice" / "a.ipynb", notebook.MAX_BYTES + 1)
    tracemalloc.start()
    try:
        submission = only(collect(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert "larger than 100 MB" in problem(submission)


# --- Zips ---------------------------------------------------------------------------------------------


def handed_in(tmp_path: Path, content: bytes) -> Submission:
    """What becomes of a zip in a student's folder, beside an honest neighbour."""
    tree(tmp_path / "in", "bob/dcgan.ipynb")
    (tmp_path / "in" / "alice").mkdir()
    (tmp_path / "in" / "alice" / "hw.zip").write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    alice, bob = collect(tmp_path / "in")
    assert [source.problem for source in bob.sources] == [""]
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked to disk"
    return alice


def test_a_zip_in_a_students_folder_is_read(tmp_path: Path) -> None:
    content = zipped(
        ("hw/dcgan.ipynb", ipynb("a = 1")), ("hw/b.py", b"b = 2"), ("__MACOSX/hw/._b.py", b"\x00")
    )
    sources = handed_in(tmp_path, content).sources
    assert [(s.name, s.cells, s.problem) for s in sources] == [
        ("b.py", ("b = 2",), ""),
        ("dcgan.ipynb", ("a = 1",), ""),
    ]


def test_a_zip_of_zips_is_an_export_of_zips(tmp_path: Path) -> None:
    path = tmp_path / "all.zip"
    path.write_bytes(
        zipped(("alice.zip", zipped(("a.ipynb", ipynb()))), ("bob/hw.zip", zipped(("b.ipynb", ipynb()))))
    )
    assert by_student(collect(path)) == {"alice": ["a.ipynb"], "bob": ["b.ipynb"]}


def test_a_zip_in_a_zip_of_a_student_is_not_opened(tmp_path: Path) -> None:
    assert "zip in a zip" in problem(handed_in(tmp_path, zipped(("b.zip", zipped(("a.ipynb", ipynb()))))))


def test_an_empty_zip(tmp_path: Path) -> None:
    assert "no notebook and no .py file in this zip" in problem(handed_in(tmp_path, zipped()))


@pytest.mark.parametrize("name", ["../a.ipynb", "/a.ipynb", "x/../../a.ipynb", "..\\a.ipynb", "C:/a.ipynb"])
def test_names_that_lead_out_of_a_zip(tmp_path: Path, name: str) -> None:
    assert "leads out of the zip" in problem(handed_in(tmp_path, zipped((name, ipynb()))))
    path = tmp_path / "export.zip"
    path.write_bytes(zipped((name, ipynb()), ("bob/b.ipynb", ipynb())))
    found = {s.student: s for s in collect(path)}
    assert found.pop("bob").sources[0].problem == ""
    assert "leads out of the zip" in problem(next(iter(found.values())))


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


@pytest.mark.parametrize("name", ["a.ipynb", "folder"])
def test_links_and_pipes_in_a_zip(tmp_path: Path, name: str) -> None:
    assert "links are not followed" in problem(
        handed_in(tmp_path, zipped((special(name, stat.S_IFLNK), b"/etc/passwd")))
    )
    assert "pipe" in problem(handed_in(tmp_path / "2", zipped((special(name, stat.S_IFIFO), b""))))


def test_a_damaged_zip(tmp_path: Path) -> None:
    content = zipped(("a.ipynb", ipynb("x" * 1000)))
    assert "not a zip, or a damaged one" in problem(handed_in(tmp_path, content[:-10]))
    assert "not a zip, or a damaged one" in problem(handed_in(tmp_path / "2", b"hello"))
    flipped = content[:50] + bytes(255 - byte for byte in content[50:70]) + content[70:]
    assert "damaged in the zip" in problem(handed_in(tmp_path / "3", flipped))


def test_the_zip_handed_to_the_grader_may_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "alice_dcgan.zip").write_bytes(b"hello")
    submission = only(collect(tmp_path / "alice_dcgan.zip"))
    assert submission.student == "alice"
    assert "not a zip" in problem(submission)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    content = bytearray(zipped(("a.ipynb", ipynb())))
    content[6] |= 1
    content[content.index(files.CENTRAL_ENTRY) + 8] |= 1
    assert "encrypted" in problem(handed_in(tmp_path, bytes(content)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_bound_are_not_used(tmp_path: Path, method: int) -> None:
    content = zipped(("a.ipynb", ipynb()), method=method)
    assert "make an ordinary zip" in problem(handed_in(tmp_path, content))


def peak(tmp_path: Path, content: bytes) -> tuple[Submission, float]:
    tracemalloc.start()
    try:
        submission = handed_in(tmp_path, content)
        return submission, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_stopped_by_its_ratio(tmp_path: Path) -> None:
    submission, megabytes = peak(tmp_path, zipped(("a.ipynb", bytes(60_000_000))))
    assert "as a zip bomb does" in problem(submission)
    assert megabytes < 50


def test_a_zip_that_lies_about_its_size_unpacks_no_more(tmp_path: Path) -> None:
    content = bytearray(zipped(("a.ipynb", bytes(60_000_000))))
    at = content.index(files.CENTRAL_ENTRY)
    for place in (22, at + 24):
        content[place : place + 4] = struct.pack("<I", 1000)
    submission, megabytes = peak(tmp_path, bytes(content))
    assert problem(submission)
    assert megabytes < 50


def test_many_members_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED", 2_000)
    monkeypatch.setattr(intake, "Budget", lambda: files.Budget(2_000))
    sources = handed_in(tmp_path, zipped(*((f"{k}.py", b"#" * 900) for k in range(9)))).sources
    assert [bool(source.problem) for source in sources] == [False] * 2 + [True] * 7
    assert "zip bomb" in sources[-1].problem


def test_a_large_member_is_told_as_large_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 5_000)
    assert "zip bomb" not in problem(handed_in(tmp_path, zipped(("a.py", os.urandom(5_001).hex().encode()))))


def test_a_zip_of_very_many_files_is_not_even_listed(tmp_path: Path) -> None:
    content = zipped(*((f"{k}.py", b"") for k in range(10_001)), method=zipfile.ZIP_STORED)
    assert "more than 10000 files" in problem(handed_in(tmp_path, content))


@pytest.mark.parametrize("packed", [False, True])
def test_of_very_many_files_the_notebooks_are_read(tmp_path: Path, packed: bool) -> None:
    folder = tree(tmp_path / "x", *(f"lib/{k:03}.py" for k in range(120)), "z/dcgan.ipynb")
    if packed:
        sources = handed_in(tmp_path, as_zip(folder, tmp_path / "hw.zip").read_bytes()).sources
    else:
        (tmp_path / "in").mkdir()
        folder.rename(tmp_path / "in" / "alice")
        sources = only(collect(tmp_path / "in")).sources
    assert len(sources) == intake.MAX_FILES + 1
    assert "dcgan.ipynb" in [source.name for source in sources]
    assert [s.problem for s in sources if s.problem] == ["Only 100 files are read, and there are more."]


def test_the_code_of_one_student_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "MAX_TEXT", 1_000)
    for k in range(3):
        (tree(tmp_path, f"alice/{k}.py") / f"alice/{k}.py").write_bytes(b"#" * 450)
    sources = only(collect(tmp_path)).sources
    assert [source.problem for source in sources] == ["", "", "The files hold too much code together."]


def test_no_zip_makes_it_raise() -> None:
    rng = random.Random(0)
    good = zipped(("a.ipynb", ipynb("x" * 300)), ("b/c.py", b"#" * 50), ("d/", b""))
    for _ in range(1_500):
        content = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        budget = files.Budget()
        try:
            for entry in files.entries_in_zip(bytes(content), budget):
                entry.read()
        except files.Refused as error:
            assert str(error)


# --- Tables -------------------------------------------------------------------------------------------


def table(tmp_path: Path, text: str, name: str = "roster.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8-sig"))
    return path


def test_a_roster_adds_who_handed_in_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "alice/a.ipynb", "dora/a.ipynb")
    roster = table(
        tmp_path, "student,name,email\nalice,Alice A.,a@x.org\nbob,Bob B.,b@x.org\n\nalice,Alice A.,a@x.org\n"
    )
    found = collect(root, roster=roster)
    assert [(s.student, s.name, len(s.sources), s.identifiers) for s in found] == [
        ("alice", "Alice A.", 1, {"email": "a@x.org"}),
        ("bob", "Bob B.", 0, {"email": "b@x.org"}),
        ("dora", "dora", 1, {}),
    ]


def test_the_gradebook_of_canvas_is_a_roster(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "lovelaceada_12_900_a.ipynb", "smithjo_LATE_13_901_a.ipynb")
    roster = table(
        tmp_path,
        "Student,ID,SIS User ID,SIS Login ID,Section,HW1 (55)\n"
        "    Points Possible,,,,,30\n"
        '"Lovelace, Ada",12,S12,ada,A,\n"Smith, Jo",14,S14,jo2,A,\n"Smith, Jo",13,S13,jo1,B,\n',
    )
    found = {s.identifiers["canvas_id"]: s for s in collect(root, roster=roster)}
    assert sorted(found) == ["12", "13", "14"]
    assert found["12"].identifiers == {"canvas_id": "12", "sis_id": "S12", "login": "ada", "section": "A"}
    assert {number: (s.name, len(s.sources)) for number, s in found.items()} == {
        "12": ("Lovelace, Ada", 1),
        "13": ("Smith, Jo", 1),
        "14": ("Smith, Jo", 0),
    }


def test_the_worksheet_of_moodle_is_a_roster(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "Ada Lovelace_101_assignsubmission_file/a.ipynb")
    text = "Identifier;Full name;Email address;Status\nParticipant 101;Ada Lovelace;ada@x.org;ok\n"
    text += "Participant 7;Bob;b@x.org;\n"
    ada, bob = collect(root, roster=table(tmp_path, text))
    assert (ada.identifiers, len(ada.sources)) == ({"moodle_id": "101", "email": "ada@x.org"}, 1)
    assert (bob.name, bob.identifiers, bob.sources) == ("Bob", {"moodle_id": "7", "email": "b@x.org"}, ())


@pytest.mark.parametrize(
    "text",
    [
        "name,sid,email\nAda Lovelace,1,ada@x.org\n",
        "First Name,Last Name,Email\nAda,Lovelace,ada@x.org\n",
        'Name\tEmail\n"Lovelace, Ada"\tada@x.org\n',
    ],
)
def test_a_name_finds_who_has_no_identifier(tmp_path: Path, text: str) -> None:
    for layout in ("Ada Lovelace/a.ipynb", "lovelaceada_12_900_a.ipynb", "ada_lovelace.ipynb"):
        root = tree(tmp_path / layout[:5], layout)
        assert only(collect(root, roster=table(tmp_path, text))).identifiers["email"] == "ada@x.org"


def test_a_name_that_two_have_finds_nobody(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "smithjo_13_901_a.ipynb", "smithjo_14_902_a.ipynb")
    found = collect(
        root, roster=table(tmp_path, 'name,email\n"Smith, Jo",jo1@x.org\n"Smith, Jo",jo2@x.org\n')
    )
    assert sorted(s.identifiers.get("email", "") for s in found) == ["", "", "jo1@x.org", "jo2@x.org"]


def test_numbers_of_different_kinds_are_not_confused(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "adal_12_900_a.ipynb")
    bob, ada = collect(root, roster=table(tmp_path, "sid,name\n12,Bob\n"))
    assert (ada.identifiers, bob.identifiers) == ({"canvas_id": "12"}, {"sis_id": "12"})


def test_a_submission_is_of_the_first_row_that_claims_it_and_the_second_keeps_a_row(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "alice/a.ipynb")
    found = collect(root, roster=table(tmp_path, "student,name,email\nalice,A,a@x.org\nalice,B,b@x.org\n"))
    assert sorted((s.name, len(s.sources), s.identifiers["email"]) for s in found) == [
        ("A", 1, "a@x.org"),
        ("B", 0, "b@x.org"),
    ]


def test_a_section_is_nobody(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "alice/a.ipynb", "bob/a.ipynb")
    roster = table(tmp_path, "student,section\nalice,1\nbob,1\n")
    times = table(tmp_path, "student,section,time\nalice,1,2026-12-01T09:00Z\n", "times.csv")
    alice, bob = collect(root, roster=roster, times=times)
    assert alice.submitted is not None
    assert (bob.submitted, bob.identifiers) == (None, {"section": "1"})


def test_absent_students_of_one_name_stay_two(tmp_path: Path) -> None:
    found = collect(tree(tmp_path / "in", "x/a.py"), roster=table(tmp_path, "name,sid\nJo,1\nJo,2\n"))
    assert [s.student for s in found] == ["Jo-1", "Jo-2", "x"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("colour,taste\nred,sweet\n", "no column says who"), ("", "no column says who")],
)
def test_a_roster_that_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"roster\.csv") as error:
        collect(tree(tmp_path / "in", "a/x.ipynb"), roster=table(tmp_path, text))
    assert told in str(error.value)


def test_a_roster_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_bytes("name\nZoë\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"roster\.csv"):
        collect(tree(tmp_path / "in", "a/x.ipynb"), roster=tmp_path / "roster.csv")


def test_times(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path / "in", "Alice A/x.ipynb", "bob/x.ipynb", "carol/x.ipynb")
    text = (
        "student,time\nAlice-A,2026-12-01T10:00:00+01:00\nBOB,2026-12-01T10:00:00Z\nbob,2026-12-01T09:00Z\n"
    )
    text += "carol,\nzed,2026-12-01T09:00Z\n"
    alice, bob, carol = sorted(collect(root, times=table(tmp_path, text, "times.csv")), key=lambda s: s.name)
    assert alice.submitted == datetime.datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert bob.submitted == datetime.datetime(2026, 12, 1, 10, tzinfo=UTC)
    assert carol.submitted is None
    assert "line 6: nobody is called zed" in caplog.text


def test_times_find_students_by_what_the_roster_says(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "lovelaceada_LATE_12_900_a.ipynb")
    roster = table(tmp_path, "canvas_id,email,name\n12,ada@x.org,Ada Lovelace\n")
    times = table(tmp_path, "Email,submitted\nada@x.org,2026-12-02T00:30:00+01:00\n", "times.csv")
    ada = only(collect(root, roster=roster, times=times))
    assert ada.submitted == datetime.datetime(2026, 12, 1, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize("time", ["2026-12-01T10:00:00", "yesterday", "1.12.2026 10:00"])
def test_a_time_without_its_zone_is_an_error(tmp_path: Path, time: str) -> None:
    root = tree(tmp_path / "in", "bob/x.ipynb")
    with pytest.raises(ValueError, match=r"times\.csv, line 2: expected a time with its zone"):
        collect(root, times=table(tmp_path, f"student,time\nbob,{time}\n", "times.csv"))


def test_a_source_is_what_the_notebook_reader_makes_of_it(tmp_path: Path) -> None:
    source = only(collect(tree(tmp_path, "alice/a.ipynb"))).sources[0]
    assert source == notebook.read("a.ipynb", (tmp_path / "alice" / "a.ipynb").read_bytes())
    assert isinstance(source, Source)


def test_later_versions_of_a_file_come_later(tmp_path) -> None:
    folder = tmp_path / "ada"
    folder.mkdir()
    for name in (
        "gan_math (1).ipynb",
        "gan_math-2.ipynb",
        "gan_math.ipynb",
        "dcgan.ipynb",
        "gan_math-10.ipynb",
    ):
        (folder / name).write_text("{}")
    (submission,) = collect(tmp_path)
    names = [source.name for source in submission.sources]
    assert names == [
        "dcgan.ipynb",
        "gan_math.ipynb",
        "gan_math (1).ipynb",
        "gan_math-2.ipynb",
        "gan_math-10.ipynb",
    ]

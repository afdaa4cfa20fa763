"""metrics.jsonl after a kill."""

import json

from oclear.training.metrics import END, MetricsLog


def test_lines_past_the_checkpoint_are_dropped(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in range(1, 6):
        log.write("heads", step, 10 + step, loss=1.0 / step)

    log.cut(13)

    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["total_step"] for line in lines] == [11, 12, 13]
    assert lines[-1] == {"stage": "heads", "step": 3, "total_step": 13, "loss": 1 / 3}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("heads", 1, 1, loss=1.0)
    with log.path.open("a") as file:
        file.write('{"stage": "heads", "step": 2, "tot')

    log.cut(5)
    log.write("heads", 2, 2, loss=0.5)

    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [1, 2]


def test_a_new_run_starts_with_no_lines(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.cut(-1)
    assert log.path.read_text() == ""
    log.write("start", 0, 0, validation_identical_at_1=0.5)
    log.cut(-1)
    assert log.path.read_text() == ""


def test_what_comes_after_the_last_step_is_not_kept_twice(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write("heads", 5, 5, loss=1.0)
    for _ in range(2):  # a finished run that goes on does its end again
        log.cut(5)
        log.write(END, 0, 5, texts_foretell=0.1)

    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["heads", "end"]

"""The site: whole, self-contained, the same twice, and nothing of a submission is more than text."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from valuedrift.leaderboard.pages import board_csv, number, slugs, visible
from valuedrift.leaderboard.ranking import read_ranking
from valuedrift.leaderboard.site import MARKER, build_site
from valuedrift.suite.errors import UserError
from valuedrift.suite.files import sha256_file

Edit = Callable[[Path, str, Callable[[dict[str, Any]], None]], Path]
Rank = Callable[[Sequence[Path], Path], Path]

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Page(HTMLParser):
    """What stands in a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def values(self, *names: str) -> Iterator[str]:
        return (value for _, attrs in self.tags for name, value in attrs.items() if name in names)


def pages_of(site: Path) -> list[Path]:
    return sorted(site.rglob("*.html"))


def rerank(ranking: Path, file: Path) -> None:
    """Write the present hash of a drift file into a ranking: what somebody would do who wants to get in."""
    value = json.loads(ranking.read_text(encoding="utf-8"))
    for named in value["inputs"]:
        if (ranking.parent / named["file"]).resolve() == file.resolve():
            named["sha256"] = sha256_file(file)
    ranking.write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture(scope="module")
def board(drifts: dict[str, Path], ranked: Rank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ranking of three runs of which one has no drift time."""
    files = [drifts[name] for name in ("dpo-1", "simpo-1", "still")]
    return ranked(files, tmp_path_factory.mktemp("ranked") / "ranking.json")


@pytest.fixture(scope="module")
def site(board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of that board."""
    return build_site(board, tmp_path_factory.mktemp("built") / "site").parent


@pytest.fixture
def hostile(drifts: dict[str, Path], edited: Edit, ranked: Rank, tmp_path: Path) -> Path:
    """The site of two runs, one of which puts markup wherever a file can hold text."""

    def attack(value: dict[str, Any]) -> None:
        value.update(run=SCRIPT, base=IMAGE, made_by={IMAGE: SCRIPT})
        value["protocol"] = {SCRIPT: {IMAGE: [IMAGE]}, "model": "\u202eevil\x00\ud800"}
        value["failures"] = [{"label": IMAGE, "reason": f"</td>{SCRIPT}"}]
        for point in value["checkpoints"]:
            point.update(label=f"{IMAGE}{point['step']}", stage=SCRIPT)
            point["diagnostics"] = {SCRIPT: {IMAGE: "no number"}, "stance": {"entropy": 1.0}}
        for span in value["spans"][:-1]:
            span.update(name=f"{SCRIPT}{span['name']}", algorithm=IMAGE, data=["=1+1", SCRIPT], verdict=IMAGE)
            span["timing"]["t50"].update(value=None, low=None, high=None, method=SCRIPT)
        for span in value["spans"]:
            span["identity"] = "f" * 8 + span["identity"][8:]
            span["topics"][SCRIPT] = span["topics"].pop("climate")
        topics = value["trajectory"]["stance"]
        topics[IMAGE] = topics.pop("climate")

    file = edited(drifts["dpo-1"], "hostile.json", attack)
    ranking = ranked([file, drifts["still"]], tmp_path / "ranking.json")
    return build_site(ranking, tmp_path / "site").parent


def test_each_run_has_a_page_and_its_data(board: Path, site: Path) -> None:
    assert {path.name for path in site.iterdir()} == {"index.html", "runs", "data", MARKER}
    for named in read_ranking(board)["inputs"]:
        assert (site / "runs" / f"{named['run']}.html").is_file()
        assert sha256_file(site / "data" / f"{named['run']}.drift.json") == named["sha256"]
    assert not list(site.parent.glob(".site*"))


def test_every_link_leads_somewhere(site: Path) -> None:
    for path in pages_of(site):
        page = Page(path)
        known = list(page.values("id"))
        assert len(known) == len(set(known)), path
        for target in page.values("href", "src"):
            place, _, anchor = target.partition("#")
            assert target == "data:," or not place or (path.parent / place).is_file(), target
            assert not anchor or anchor in known, target
        for references in page.values("aria-labelledby"):
            assert set(references.split()) <= set(known)


def test_nothing_is_fetched(site: Path) -> None:
    for path in pages_of(site):
        page = Page(path)
        outside = re.sub(r'xmlns="http://www\.w3\.org/2000/svg"', "", page.source)
        assert "http:" not in outside
        assert "https:" not in outside
        assert not re.search(r"url\(|@import|=\"//", page.source)
        assert {tag for tag, _ in page.tags}.isdisjoint(
            {"iframe", "object", "embed", "img", "form", "use", "image"}
        )


def test_the_policy_allows_the_own_style_and_script_alone(site: Path) -> None:
    for path in pages_of(site):
        page = Page(path)
        policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        for tag in ("style", "script"):
            (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.source, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert not [
            name for _, attrs in page.tags for name in attrs if name == "style" or name.startswith("on")
        ]


def test_text_of_files_stays_text(hostile: Path) -> None:
    assert {path.name for path in (hostile / "runs").iterdir()} == {
        "script-alert-1-script.html",
        "still.html",
    }
    for path in pages_of(hostile):
        page = Page(path)
        assert "img" not in {tag for tag, _ in page.tags}
        assert [tag for tag, _ in page.tags].count("script") == 1
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        assert "\u202e" not in page.source
        assert "\x00" not in page.source
    run = Page(hostile / "runs" / "script-alert-1-script.html")
    assert SCRIPT in run.text
    assert IMAGE in run.text
    assert "\ufffdevil\ufffd\ufffd" in run.text
    assert IMAGE in Page(hostile / "index.html").text


def test_a_spreadsheet_finds_no_formula(hostile: Path, site: Path) -> None:
    with (hostile / "data" / "board.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert "'=1+1; <script>alert(1)</script>" in {row["data"] for row in rows}
    with (site / "data" / "board.csv").open(encoding="utf-8", newline="") as stream:
        still = next(row for row in csv.DictReader(stream) if row["run"] == "still")
    assert float(still["D"]) < 0.02
    assert (still["t50"], still["time_rank_low"]) == ("", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cells_that_begin_like_a_formula_are_guarded(board: Path, start: str) -> None:
    ranking = read_ranking(board)
    ranking["entries"][0]["verdict"] = f"{start}cmd"
    (row, *_) = csv.DictReader(board_csv(ranking).splitlines())
    assert row["verdict"] == f"'{visible(start)}cmd"


def test_two_builds_are_equal(board: Path, site: Path, tmp_path: Path) -> None:
    again = build_site(board, tmp_path / "again").parent
    files = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert [(site / f).read_bytes() for f in files] == [(again / f).read_bytes() for f in files]


def test_every_number_has_interval_and_n_and_drift_no_direction(site: Path) -> None:
    index = Page(site / "index.html")
    assert "Drift has no good direction." in index.text
    assert "minimum detectable D" in index.text
    assert "not ranked: 1 of 3 seeds" in index.text
    assert "undefined: within noise floor" in index.text
    assert re.search(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] 44", index.text)
    assert "green" not in index.source
    run = Page(site / "runs" / "dpo-1.html")
    for part in (
        "Paper η support",
        "Control facts",
        "gender identity",
        "None: every checkpoint",
        "sft-000000",
    ):
        assert part in run.text, part


def test_charts_have_a_title_a_description_and_their_numbers(site: Path) -> None:
    run = Page(site / "runs" / "dpo-1.html")
    charts = [attrs for tag, attrs in run.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) == 1 + 11 + 1
    names = [tag for tag, _ in run.tags]
    assert names.count("desc") == names.count("figure") == len(charts)
    assert names.count("details") >= len(charts)
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)px"', run.source)]
    assert sizes
    assert min(sizes) >= 12


def test_a_changed_drift_file_is_refused(
    drifts: dict[str, Path], ranked: Rank, edited: Edit, tmp_path: Path
) -> None:
    copy = edited(drifts["dpo-1"], "copy.json", lambda value: value.update(base="first"))
    ranking = ranked([copy], tmp_path / "ranking.json")
    edited(drifts["dpo-1"], "copy.json", lambda value: value.update(base="second"))
    with pytest.raises(UserError, match=r"changed \(sha256 .*rank again"):
        build_site(ranking, tmp_path / "site")
    copy.unlink()
    with pytest.raises(UserError, match="which is missing"):
        build_site(ranking, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_trajectory_that_cannot_be_drawn_is_refused(
    drifts: dict[str, Path], ranked: Rank, edited: Edit, tmp_path: Path
) -> None:
    def cut(value: dict[str, Any]) -> None:
        value["trajectory"]["stance"]["climate"]["support"].pop()
        del value["trajectory"]["control"]["overall"]

    ranking = ranked([edited(drifts["dpo-1"], "cut.json", cut)], tmp_path / "ranking.json")
    with pytest.raises(UserError) as caught:
        build_site(ranking, tmp_path / "site")
    assert len(caught.value.faults) == 2


def test_a_ranking_that_names_other_runs_is_refused(
    drifts: dict[str, Path], ranked: Rank, edited: Edit, tmp_path: Path
) -> None:
    file = edited(drifts["dpo-1"], "one.json", lambda value: value.update(base="x"))
    ranking = ranked([file], tmp_path / "ranking.json")
    edited(drifts["dpo-1"], "one.json", lambda value: value.update(run="renamed"))
    rerank(ranking, file)
    with pytest.raises(UserError, match="found run 'dpo-1', expected 'renamed'"):
        build_site(ranking, tmp_path / "site")


def test_a_foreign_folder_is_left_alone(board: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="choose another --output"):
        build_site(board, tmp_path / "mine")
    with pytest.raises(UserError, match="found a file, expected a folder"):
        build_site(board, tmp_path / "mine" / "thesis.tex")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_an_own_site_is_replaced_unless_its_inputs_lie_in_it(site: Path, board: Path, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (copy / "old.html").write_text("of an older version", encoding="utf-8")
    build_site(board, copy)
    assert not (copy / "old.html").exists()
    value = read_ranking(board)
    for named in value["inputs"]:
        named["file"] = f"data/{named['run']}.drift.json"
    inside = copy / "ranking.json"
    inside.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(UserError, match="without the site's inputs"):
        build_site(inside, copy)
    assert inside.is_file()


def test_a_missing_extra_says_what_to_install(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match=r"no vl_convert.*pip install 'valuedrift\[site\]'"):
        build_site(board, tmp_path / "site")


def test_page_names_are_safe_and_each_run_has_its_own() -> None:
    found = slugs(["../../etc", "A b", "a-b", "a-b-2", "\u202e", "", "x" * 300])
    assert list(found.values()) == ["etc", "a-b", "a-b-2", "a-b-2-2", "run", "run-2", "x" * 60]


def test_numbers_are_written_with_a_minus_and_never_as_negative_zero() -> None:
    assert [number(-0.00001), number(-0.5), number(0.5, 2, True), number(None)] == [
        "0.000",
        "\u22120.500",
        "+0.50",
        "\u2013",
    ]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
@pytest.mark.parametrize("direction", ["ascending", "descending"])
def test_missing_values_are_sorted_last_in_both_directions(
    site: Path, direction: str, tmp_path: Path
) -> None:
    index = Page(site / "index.html")
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]+)</th>", index.source.split('<table id="entries"')[1])
    column = heads.index("Drift time t50")
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    )
    url = f"{(site / 'index.html').as_uri()}#sort=entries.{column}.{direction}"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path}", "--dump-dom", url]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    table = shown.split('<table id="entries"')[1].split("</table>")[0]
    assert table.count(f'aria-sort="{direction}"') == 1
    assert table.count("<button") == len(re.findall('<th scope="col"', table))
    rows = [re.findall(r'data-value="([^"]*)"', row) for row in table.split("<tr")[2:]]
    times = [row[4] for row in rows]
    assert times[-1] == ""
    known = [float(value) for value in times[:-1]]
    assert known == sorted(known, reverse=direction == "descending")

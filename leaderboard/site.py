"""The static site: one folder that opens by double-click, made from `ranking.json` and its drift files."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuedrift.leaderboard.pages import (
    board_csv,
    index_page,
    number,
    run_page,
    slugs,
    trajectory_faults,
    visible,
)
from valuedrift.leaderboard.ranking import read_ranking
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import dump_json, folder_whole, sha256_file, write_json, write_text
from valuedrift.suite.report_files import DriftFile, read_drift

MARKER = "valuedrift-site.json"
"""File by which a folder is known as a site of ours, which may be replaced."""
SCHEMA = "valuedrift/site/1"
EXTRA = ("jinja2", "altair", "vl_convert")
_POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def build_site(ranking_file: Path, output: Path) -> Path:
    """Return `output/index.html` of a site written whole or not at all; equal inputs give equal bytes.

    Raises UserError when the extra `site` is missing, when a drift file is not the one that was ranked, or
    when `output` holds something that is not a site of ours.
    """
    _require_extra()
    ranking = read_ranking(ranking_file)
    files = _drift_files(ranking_file, ranking)
    _require_replaceable(output, [ranking_file, *(file.path for file in files)])
    pages = slugs([file.run for file in files])
    environment = _environment()
    with folder_whole(output) as folder:
        index = index_page(ranking, pages)
        write_text(folder / "index.html", _rendered(environment, "index.html.j2", {**index, "root": ""}))
        for file in files:
            page = {**run_page(file, ranking), "pages": pages, "root": "../"}
            write_text(
                folder / "runs" / f"{pages[file.run]}.html", _rendered(environment, "run.html.j2", page)
            )
            copy = folder / "data" / f"{pages[file.run]}.drift.json"
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file.path, copy)
        write_text(folder / "data" / "board.csv", board_csv(ranking))
        write_json(folder / MARKER, {"schema": SCHEMA})
    return output / "index.html"


def _require_extra() -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        fix = "pip install 'valuedrift[site]'"
        raise UserError(Fault("site", f"no {', '.join(missing)}", "the packages of the extra 'site'", fix))


def _drift_files(ranking_file: Path, ranking: Mapping[str, Any]) -> list[DriftFile]:
    files, faults = [], []
    for position, named in enumerate(ranking["inputs"]):
        path = ranking_file.parent / named["file"]
        where = f"{ranking_file} inputs[{position}]"
        fix = "rank again: valuedrift rank"
        if not path.is_file():
            faults.append(Fault(where, f"{path}, which is missing", "the drift file that was ranked", fix))
            continue
        if (found := sha256_file(path)) != named["sha256"]:
            found = f"{path} changed (sha256 {found[:12]})"
            faults.append(Fault(where, found, f"sha256 {named['sha256'][:12]} as when it was ranked", fix))
            continue
        file = read_drift(path)
        if file.run != named["run"]:
            faults.append(Fault(where, f"run '{named['run']}'", f"'{file.run}' as in {path}", fix))
        faults += trajectory_faults(file)
        files.append(file)
    faults = faults or _name_faults(ranking_file, ranking)
    if faults:
        raise UserError(faults)
    return files


def _name_faults(ranking_file: Path, ranking: Mapping[str, Any]) -> list[Fault]:
    runs = [named["run"] for named in ranking["inputs"]]
    faults = [
        Fault(f"{ranking_file} inputs", f"run '{run}' twice", "each run once")
        for run in sorted({run for run in runs if runs.count(run) > 1})
    ]
    for position, entry in enumerate(ranking["entries"]):
        for run in (entry["run"], *entry["shared_by"]):
            if run not in runs:
                where = f"{ranking_file} entries[{position}]"
                faults.append(
                    Fault(where, f"run '{run}'", "a run of 'inputs'", "rank again: valuedrift rank")
                )
    return faults


def _require_replaceable(output: Path, inputs: list[Path]) -> None:
    fix = "choose another --output"
    if output.exists() and not output.is_dir():
        raise UserError(Fault(str(output), "a file", "a folder", fix))
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_file():
        raise UserError(Fault(str(output), f"a folder with files but no {MARKER}", "a site or nothing", fix))
    inside = [path for path in inputs if path.resolve().is_relative_to(output.resolve())]
    if inside:
        raise UserError(Fault(str(output), f"{inside[0]} in it", "a folder without the site's inputs", fix))


def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    here = Path(__file__).parent
    style = (here / "static" / "site.css").read_text(encoding="utf-8")
    script = (here / "static" / "sort.js").read_text(encoding="utf-8")
    environment = Environment(
        loader=FileSystemLoader(here / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is the site's own; every other text may come from a file of somebody else.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters.update(number=number, svg=Markup, json=lambda value: dump_json(value, None))
    environment.globals.update(
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
        policy=_POLICY.format(style=_source_hash(style), script=_source_hash(script)),
    )
    return environment


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _rendered(environment: Any, template: str, page: Mapping[str, Any]) -> str:
    text: str = environment.get_template(template).render(page)
    return re.sub(r"\n\s*\n+", "\n", text) + "\n"

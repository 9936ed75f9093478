"""docs/migrating.md names only what exists: settings of Canter, and Gunicorn's that are accounted for."""

from __future__ import annotations

import re
from pathlib import Path

from canter import gunicorn
from canter.config import SETTINGS, find_name

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[tuple[str, str]]:
    """The two columns of the table that begins with ``heading``."""
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return [(left, right) for left, right in cells]


def names(text: str) -> set[str]:
    """Names in backticks, without the values some stand with."""
    return {re.split(r"[ =]", quoted)[0] for quoted in re.findall(r"`([^`]+)`", text)}


def test_what_stands_for_uwsgis_options_exists() -> None:
    for left, right in rows("| uWSGI | Canter |"):
        for name in names(right) - {"TERM", "HUP", "module:name"}:
            assert name in SETTINGS, (left, name)


def test_gunicorns_settings_are_as_the_page_says() -> None:
    accounted = gunicorn.ABSENT.keys() | gunicorn.REFUSED.keys()
    for left, _ in rows("| Gunicorn's | instead |"):
        for name in names(left):
            known = {each for each in accounted if re.fullmatch(name.replace("*", ".*"), each)}
            assert known or find_name(name), name


def test_every_setting_that_gunicorn_has_and_canter_has_not_is_on_the_page() -> None:
    patterns = [
        name.replace("*", ".*") for left, _ in rows("| Gunicorn's | instead |") for name in names(left)
    ]
    unsaid = {name for name in gunicorn.ABSENT if not any(re.fullmatch(each, name) for each in patterns)}
    assert unsaid == set()


def test_worker_classes_are_those_of_the_table() -> None:
    told = names(PAGE[PAGE.index("| you wrote") : PAGE.index("A name that is translated")])
    short = {name for name in gunicorn.WORKER_CLASSES if "." not in name}
    assert short <= told

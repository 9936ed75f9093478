"""The page of settings is what the declarations say, and each declaration says enough."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from canter.config import SETTINGS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_what_the_declarations_say() -> None:
    page = runpy.run_path(str(DOCS / "settings_page.py"))["page"]()
    written = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert written == page, "run: python docs/settings_page.py"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_declaration_is_complete(name: str) -> None:
    setting = SETTINGS[name]
    assert setting.help
    assert not setting.help.endswith(".")
    assert len(setting.help) <= 90
    hook = setting.section == "Server hooks"
    assert setting.flags or hook or name in ("wsgi_app", "secure_scheme_headers")
    assert bool(setting.env) != (hook or name == "secure_scheme_headers")
    if isinstance(setting.default, (int, float)) and not isinstance(setting.default, bool):
        jitter_or_mask = ("max_requests_jitter", "umask", "drain_delay")
        assert setting.why or name in jitter_or_mask, "a number needs its reason"
        assert setting.default or setting.zero or name in jitter_or_mask, "what 0 means is said"


def test_no_flag_is_declared_twice() -> None:
    flags = [flag for setting in SETTINGS.values() for flag in setting.flags]
    assert len(flags) == len(set(flags))

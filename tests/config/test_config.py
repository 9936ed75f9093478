"""``Config`` as a value: defaults, overrides, comparison, pickling."""

from __future__ import annotations

import pickle

import pytest

from canter.config import SETTINGS, Config, Setting
from canter.errors import ConfigError
from canter.kinds import WorkerCount


def test_all_defaults() -> None:
    config = Config()
    assert config.bind == ["127.0.0.1:8000"]
    assert config.workers == 1
    assert config.worker_class == "sync"
    assert config.keepalive is None
    assert all(config.source(name) == "default" for name in SETTINGS)


def test_every_default_is_a_value_of_its_own_kind() -> None:
    for name, setting in SETTINGS.items():
        assert setting.parse(setting.default, name) == setting.default, name


def test_keywords_override_and_are_checked() -> None:
    config = Config(keepalive="5", bind="127.0.0.1:0")
    assert config.keepalive == 5
    assert config.bind == ["127.0.0.1:0"]
    assert config.source("keepalive") == "given in code"
    with pytest.raises(ConfigError, match="unknown setting 'keep_alive'; did you mean 'keepalive'"):
        Config(keep_alive=5)
    with pytest.raises(ConfigError, match="timeout: expected seconds, 0 or more, got 'soon'"):
        Config(timeout="soon")


def test_a_default_list_is_not_shared() -> None:
    Config().bind.append("127.0.0.1:1")
    assert Config().bind == ["127.0.0.1:8000"]


def test_it_does_not_change() -> None:
    config = Config()
    with pytest.raises(AttributeError, match=r"config\.replace\(timeout=\.\.\.\)"):
        config.timeout = 5  # type: ignore[misc]
    assert config.replace(timeout=5).timeout == 5
    assert config.timeout == 30


def test_comparison_and_difference() -> None:
    assert Config(timeout=30) == Config()
    assert Config(timeout=31) != Config()
    assert Config(workers="2-4") != Config(workers="2-8")
    assert Config().changed(Config(timeout=1, bind=[":0"])) == ["bind", "timeout"]


def test_it_pickles() -> None:
    config = Config(workers="2-8", request_timeout_paths=["/a=3"])
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert again.workers.most == 8
    assert again.source("workers") == "given in code"


def test_the_class_shows_declarations_and_the_instance_values() -> None:
    assert isinstance(Config.timeout, Setting)
    assert Config.timeout.name == "timeout"
    assert Config.timeout.env == "CANTER_TIMEOUT"
    assert vars(Config())["timeout"] == 30


def test_sync_with_threads_means_gthread() -> None:
    config = Config(threads=4)
    assert config.worker_class == "gthread"
    assert [note.text for note in config.notes] == ["worker class sync with 4 threads means gthread"]
    assert config.source("worker_class") == "sync with threads = 4"


def test_worker_count_without_a_range_is_fixed() -> None:
    assert not Config(workers=3).workers.scales
    assert Config(workers="3-5").workers.scales
    assert Config(workers="3-5").workers == WorkerCount(3, 5)

"""The command ``canter``: arguments to a Config, a Config to a running master.

Exit codes: 0 all went well, 2 a setting is wrong, 3 workers do not start, 4 the
application does not load.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from canter import __version__, flags, usage, workers
from canter.config import Config
from canter.errors import AppImportError, ConfigError
from canter.gateway import loader


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (the process's own by default) and return the exit code."""
    try:
        return _main(sys.argv[1:] if argv is None else argv)
    except ConfigError as error:
        print(f"canter: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `canter --help | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter would complain at its end
        return 0


def run(app: object, **settings: Any) -> int:
    """Serve ``app``, an application or its ``module:name``, from this process; return the exit code.

    Keyword settings win over files and variables, as flags do. Raises ConfigError
    where a setting is wrong.
    """
    return serve(Config.load((), os.environ, _cwd(), {**settings, "wsgi_app": app}))


def serve(config: Config) -> int:
    """Become the master of the server that ``config`` describes, until it is stopped."""
    _check(config)
    from canter.master.arbiter import Arbiter  # nothing else here needs sockets and signals

    return Arbiter(config).run()


def _main(argv: Sequence[str]) -> int:
    actions = flags.parse(argv).actions
    if "version" in actions:
        print(f"canter {__version__}")
        return 0
    if actions:
        print(usage.help_text("help_all" in actions, shutil.get_terminal_size().columns), flush=True)
        return 0
    config = Config.load(argv, os.environ, _cwd())
    if config.print_config:
        print(*usage.print_config(config), sep="\n", flush=True)
        if not config.check_config:
            _tell_notes(config)
    if config.check_config:
        return _check_all(config)
    return 0 if config.print_config else serve(config)


def _cwd() -> str:
    """The directory as the user's shell names it.

    Deployments swing a symbolic link to a new release and send HUP: the name must
    be kept, for its target changes.
    """
    named = os.environ.get("PWD", "")
    try:
        return named if named and os.path.samefile(named, ".") else os.getcwd()
    except OSError:
        return os.getcwd()


def _check(config: Config) -> None:
    """What can be known wrong before the first fork, and the directory to work in."""
    if config.wsgi_app is None:
        raise ConfigError("no application given: canter [OPTIONS] APP_MODULE, or wsgi_app in a settings file")
    if config.reload and find_spec("watchfiles") is None:
        raise ConfigError("reload needs a package: pip install 'canter[reload]'")
    loader.enter(config)
    workers.check(config.worker_class)


def _tell_notes(config: Config) -> None:
    for note in config.notes:
        print(f"canter: {note.text}", file=sys.stderr)


def _check_all(config: Config) -> int:
    """Load worker class and application too, in a child: loading may do anything to a process."""
    _tell_notes(config)
    _check(config)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os._exit(_load_all(config))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        name = signal.Signals(-code).name
        print(f"canter: {config.wsgi_app}: loading it ended the process ({name})", file=sys.stderr)
        return AppImportError.exit_code
    return code


def _load_all(config: Config) -> int:
    try:
        loader.set_environment(config)
        workers.resolve(config.worker_class).patch()  # as serving would, before the application
        loader.load(config.wsgi_app)
        print("canter: settings and application are in order")
        return 0
    except ConfigError as error:
        print(f"canter: {error}", file=sys.stderr)
        return error.exit_code
    except AppImportError as error:
        print(f"{error.traceback_text}canter: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()

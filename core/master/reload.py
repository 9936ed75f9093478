"""Reloads: from one reading of the settings to the next, without a gap.

A reload reads the settings again and opens the sockets that are new in them. Then the
process table boots one worker with them, the canary. While it boots nothing has
changed; when it fails everything stays. When it is ready the new settings are the
server's, and the table replaces the other workers one by one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from canter import workers
from canter.errors import ConfigError
from canter.master import sockets
from canter.master.children import SECOND, Child
from canter.master.family import Ended, Family, Generation
from canter.master.sockets import Listener

if TYPE_CHECKING:
    from canter.config import Config


class Reloader:
    """The generation that serves, and the one that tries to."""

    def __init__(self, server: Any, family: Family, first: Generation) -> None:
        self.current = first
        self._server = server
        self._family = family
        self._table = family.table
        self._log = server.log
        self.activated = False  # the sockets are the service manager's, whatever `bind` says
        self._began = 0  # when the reload that is under way began; 0: none is
        family.generations[first.number] = first

    def begin(self) -> Config | None:
        """Start a new generation; an unfinished one gives way. None when the settings are wrong."""
        began = time.monotonic_ns()
        self.call_off()
        try:
            cfg = reread(self.current.cfg)
            listeners = self._listeners(cfg)
        except (ConfigError, sockets.ListenError) as error:
            self._log.error("Reload called off, the old settings stay: %s", error)
            return None
        changed = ", ".join(self.current.cfg.changed(cfg))
        self._log.info(
            "Reload: %s", f"settings changed: {changed}" if changed else "the settings are the same"
        )
        self._began = began
        number = self._table.reload()
        self._family.generations[number] = Generation(number, cfg, listeners)
        sockets.stop_deferring(each for each in self.current.listeners if each not in listeners)
        return cfg

    def commit(self, child: Child) -> tuple[Config, Config]:
        """The canary is ready: its generation is the current one. The old settings and the new."""
        before, after = self.current, self._family.generations[child.generation]
        self.current = after
        self._family.generations = {after.number: after}
        _close(before.listeners, but=after.listeners)
        sockets.adjust(after.listeners, policy(after.cfg))
        took = (time.monotonic_ns() - child.started) / SECOND
        what = "Reload: the first new worker (pid:%d) is ready after %.1f s; the others follow, %d at a time"
        self._log.info(what, child.pid, took, after.cfg.reload_surge)
        return before.cfg, after.cfg

    def failed(self, ended: Ended) -> None:
        """The canary did not boot."""
        self.call_off()
        self._began = 0
        what = "Reload called off: the first new worker (%s) failed to boot: %s; the old ones serve on%s"
        trace = f"\n{ended.failure.traceback.rstrip()}" if ended.failure.traceback else ""
        self._log.error(what, ended.child.name, ended.failure.line, trace)

    def call_off(self) -> None:
        """Forget a candidate, with the sockets that only it had."""
        self._table.call_off()
        for number, generation in list(self._family.generations.items()):
            if generation is not self.current:
                del self._family.generations[number]
                _close(generation.listeners, but=self.current.listeners)
                sockets.adjust(self.current.listeners, policy(self.current.cfg))

    def finished(self) -> bool:
        """Whether a reload has just come to its end: told once."""
        if not self._began or not self._table.rolled:
            return False
        took = (time.monotonic_ns() - self._began) / SECOND
        self._log.info("Reload complete after %.1f s: %d new workers", took, len(self._table.serving))
        self._began = 0
        return True

    def _listeners(self, cfg: Config) -> list[Listener]:
        """What new settings listen at: sockets that are open already, and others."""
        now = self.current
        if cfg.bind == now.cfg.bind or self.activated:
            return now.listeners
        open_already = {listener.bind: listener for listener in now.listeners}
        missing = [bind for bind in cfg.bind if bind not in open_already]
        made = {made.bind: made for made in sockets.open_all(missing, policy(cfg), int(cfg.workers))}
        return [open_already.get(bind) or made[bind] for bind in cfg.bind]


def reread(cfg: Config) -> Config:
    """The same sources read again, and what can be known wrong before a fork."""
    try:
        fresh = cfg.reread()
    except SystemExit as error:
        raise ConfigError(f"the settings file ended itself: SystemExit({error.code!r})") from None
    if fresh.wsgi_app is None:
        raise ConfigError("no application is given any more")
    workers.check(fresh.worker_class)
    return fresh


def policy(cfg: Config) -> sockets.Policy:
    """The settings of sockets."""
    return sockets.Policy(cfg.backlog, cfg.reuse_port, cfg.defer_accept, cfg.umask, cfg.uid, cfg.gid)


def _close(listeners: list[Listener], but: list[Listener]) -> None:
    for listener in listeners:
        if listener not in but:
            listener.close()

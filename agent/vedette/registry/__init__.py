"""Find plugins, refuse broken ones with the reason, and tell the others what happens.

All plugins have the same rights, wherever they come from. One that cannot be used is refused as a
whole, listed with a reason a person understands, and harms no other.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pluggy

from vedette import hookspecs
from vedette.api import Collector, Detector, Output
from vedette.config.schema import nearest
from vedette.registry.check import KINDS, class_problem, error_text
from vedette.registry.sources import Origin, Source, UntrustedError, dropped_in, installed, shipped

__all__ = ["PluginInfo", "Registry", "discover"]

logger = logging.getLogger(__name__)

Status = Literal["active", "refused", "disabled"]

SHIPPED_PACKAGE = "vedette_plugins"


class PluginInfo(msgspec.Struct, frozen=True):
    """One plugin that was found, and what became of it.

    ``source`` is the module, file or distribution; the names are what it registers, or would have.
    """

    name: str
    origin: Origin
    source: str
    status: Status
    reason: str = ""
    collectors: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


class Registry:
    """The registered classes by name, and the plugins they came from."""

    def __init__(self) -> None:
        self.collectors: dict[str, type[Collector]] = {}
        self.detectors: dict[str, type[Detector]] = {}
        self.outputs: dict[str, type[Output]] = {}
        self._plugins: list[PluginInfo] = []
        self._owners: dict[tuple[str, str], str] = {}
        self._failing: set[tuple[str, str]] = set()
        self._manager = pluggy.PluginManager("vedette")
        self._manager.add_hookspecs(hookspecs)

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """All plugins that were found, in the order they were."""
        return tuple(self._plugins)

    def add(
        self, plugin: object, *, name: str, origin: Origin = "shipped", source: str = ""
    ) -> PluginInfo:
        """Register a module, or any object with hook implementations; raises nothing."""
        return self.add_source(Source(name, origin, source or repr(plugin), lambda: plugin))

    def add_source(self, source: Source) -> PluginInfo:
        """Import and register what was found; what it raises is the reason it is refused."""
        first = next((p for p in self._plugins if p.name == source.name), None)
        if first is not None:
            return self._refuse(source, f"plugin {first.source} is called {source.name!r} already")
        plugin, error = _attempt(source.load)
        if isinstance(error, UntrustedError):
            return self._refuse(source, str(error))
        if error is not None:
            return self._refuse(source, error_text(error, source.place))
        near = getattr(plugin, "__file__", None) or source.place
        result, error = _attempt(self._inspect, source, plugin)
        if error is not None:
            return self._refuse(source, error_text(error, near))
        reason, classes = result
        if reason:
            return self._refuse(source, reason, classes)
        _, error = _attempt(self._manager.register, plugin, source.name)
        if error is not None:
            # Up to pluggy 1.6 its other hooks would go on answering.
            _attempt(self._manager.unregister, plugin)
            return self._refuse(source, error_text(error, near), classes)
        return self._accept(source, classes)

    def disable(self, source: Source) -> PluginInfo:
        """List a plugin that is not to be imported."""
        return self._list(PluginInfo(source.name, source.origin, source.place, "disabled"))

    def refuse_place(self, origin: Origin, place: str, reason: str) -> PluginInfo:
        """List a place whose plugins are not looked at."""
        return self._list(PluginInfo(Path(place).name, origin, place, "refused", reason))

    def notify(self, hook: str, **arguments: Any) -> None:
        """Tell every plugin that implements the hook; one that raises is logged once.

        It is logged again after it worked in between.
        pluggy itself stops at the first implementation that raises. Raises ``AttributeError`` for a
        hook that does not exist.
        """
        for _ in self.ask(hook, **arguments):
            pass

    def ask(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Yield the name of each plugin that implements the hook, and its answer.

        Those that raise are left out; see ``notify``. A generator's answer is a list of what it
        yields.
        """
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        for implementation in reversed(caller.get_hookimpls()):
            values = [arguments[name] for name in implementation.argnames]
            answer, error = _attempt(implementation.function, *values)
            if error is None and inspect.isgenerator(answer):
                answer, error = _attempt(list, answer)
            self._note(implementation, hook, error)
            if error is None:
                yield implementation.plugin_name, answer

    def _note(
        self, implementation: pluggy.HookImpl, hook: str, error: BaseException | None
    ) -> None:
        """Log an implementation that began to fail, or works again."""
        key = (implementation.plugin_name, hook)
        if error is None:
            if key in self._failing:
                self._failing.discard(key)
                logger.info("plugin hook works again plugin=%s hook=%s", *key)
        elif key not in self._failing:
            self._failing.add(key)
            code = getattr(implementation.function, "__code__", None)
            text = error_text(error, getattr(code, "co_filename", ""))
            logger.warning("plugin hook failed plugin=%s hook=%s error=%r", *key, text)

    def _inspect(self, source: Source, plugin: Any) -> tuple[str, dict[str, list[type[Any]]]]:
        """Return why a plugin cannot be used, if so, and the classes it registers."""
        classes: dict[str, list[type[Any]]] = {kind: [] for kind in KINDS}
        implementations = {}
        for hook, function, options in self._implementations(plugin):
            reason = self._hook_problem(hook, function, options)
            if reason:
                return reason, classes
            implementations[hook] = function
        if not implementations:
            return "no function is marked @hookimpl", classes
        for kind, found in classes.items():
            register = implementations.get(f"register_{kind}")
            result = [] if register is None else register()
            if not isinstance(result, list | tuple):
                return f"register_{kind}() returned {result!r:.80}, not a list of classes", classes
            found.extend(result)
        return self._class_problems(source, classes), classes

    def _implementations(
        self, plugin: Any
    ) -> Iterator[tuple[str, Callable[..., Any], pluggy.HookimplOpts]]:
        for name in dir(plugin):
            options = self._manager.parse_hookimpl_opts(plugin, name)
            if options is not None:
                yield options["specname"] or name, getattr(plugin, name), options

    def _hook_problem(
        self, hook: str, function: Callable[..., Any], options: pluggy.HookimplOpts
    ) -> str:
        caller = getattr(self._manager.hook, hook, None)
        if caller is None or caller.spec is None:
            if options["optionalhook"]:  # for a newer Vedette
                return ""
            known = [name for name in vars(hookspecs) if hasattr(self._manager.hook, name)]
            return f"unknown hook {hook!r}{nearest(hook, known)}"
        if options["wrapper"] or options["hookwrapper"]:
            return f"hook {hook!r}: wrappers are not supported"
        known = list(caller.spec.argnames)
        for argument in inspect.signature(function).parameters:
            if argument not in known:
                hint = nearest(argument, known) if known else ", it has none"
                return f"hook {hook!r} has no argument {argument!r}{hint}"
        return ""

    def _class_problems(self, source: Source, classes: dict[str, list[type[Any]]]) -> str:
        for kind, found in classes.items():
            seen: set[str] = set()
            for class_ in found:
                reason = class_problem(kind, class_)
                if reason:
                    return reason
                owner = self._owners.get((kind, class_.name))
                if owner is not None or class_.name in seen:
                    owner = "this plugin" if owner is None else f"plugin {owner!r}"
                    return f"{kind[:-1]} {class_.name!r} is registered by {owner} already"
                seen.add(class_.name)
        return ""

    def _accept(self, source: Source, classes: dict[str, list[type[Any]]]) -> PluginInfo:
        for kind, found in classes.items():
            registered: dict[str, type[Any]] = getattr(self, kind)
            for class_ in found:
                registered[class_.name] = class_
                self._owners[kind, class_.name] = source.name
        return self._list(_info(source, "active", "", classes))

    def _refuse(
        self, source: Source, reason: str, classes: dict[str, list[type[Any]]] | None = None
    ) -> PluginInfo:
        return self._list(_info(source, "refused", reason, classes or {}))

    def _list(self, info: PluginInfo) -> PluginInfo:
        self._plugins.append(info)
        if info.status == "refused":
            logger.warning("plugin refused plugin=%s reason=%r", info.name, info.reason)
        return info


def discover(
    *,
    plugins_dir: Path | None,
    disable: Collection[str] = (),
    owner_uid: int | None = None,
    package: str | None = SHIPPED_PACKAGE,
) -> Registry:
    """Import every plugin there is: shipped, installed, and dropped into ``plugins_dir``.

    A drop-in must belong to root or ``owner_uid`` (default: who runs this). ``disable`` names
    plugins that are not imported.
    """
    registry = Registry()
    uid = os.geteuid() if owner_uid is None else owner_uid
    sources = [*(shipped(package) if package else ()), *installed()]
    if plugins_dir is not None:
        try:
            sources.extend(dropped_in(plugins_dir, uid))
        except UntrustedError as error:
            registry.refuse_place("drop-in", str(plugins_dir), str(error))
    for source in sources:
        if source.name in disable:
            registry.disable(source)
        else:
            registry.add_source(source)
    return registry


def _attempt(function: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
    """Call code of a plugin; whatever it raises, ``SystemExit`` too, is returned."""
    try:
        return function(*arguments), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the border to foreign code
        return None, error


def _info(
    source: Source, status: Status, reason: str, classes: dict[str, list[type[Any]]]
) -> PluginInfo:
    names = {
        kind: tuple(name for c in classes.get(kind, ()) if isinstance(name := _name(c), str))
        for kind in KINDS
    }
    return PluginInfo(
        source.name,
        source.origin,
        source.place,
        status,
        reason,
        names["collectors"],
        names["detectors"],
        names["outputs"],
    )


def _name(class_: Any) -> Any:
    return getattr(class_, "name", None)

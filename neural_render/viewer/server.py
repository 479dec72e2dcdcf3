"""The web server of the page: its address, who is warned of it, and what visitors may not do."""

import errno
import ipaddress
import logging
import socket
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from neural_render.core.errors import SettingError, UserError, reason_of, with_extra
from neural_render.viewer.settings import ViewerSettings

if TYPE_CHECKING:
    import viser

PORTS_TRIED = 100
_log = logging.getLogger("neural_render")


def load_viser() -> Any:
    """The library that serves pages; UserError where it is not installed."""
    try:
        import viser
    except ImportError as error:
        raise UserError(
            f"the viewer needs viser, which cannot be imported ({error}): {with_extra('viewer')}."
        ) from error
    return viser


def open_server(settings: ViewerSettings, title: str) -> "viser.ViserServer":
    """A server at the address that the settings name.

    SettingError where the address is not this machine's, or no port is free.
    """
    library = load_viser()
    port = free_port(settings.host, settings.port)
    # Somebody who leaves while a picture is made gets no more of it: that is no news.
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")
    # It prints a frame when it begins and a line when it ends, through a library that only it uses.
    import_module("rich").get_console().quiet = True
    # What visitors send that is no message ends their visit, of which it would print a traceback.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    server = library.ViserServer(settings.host, port, label=title, verbose=False)
    # Or any visitor could publish the page through a server of theirs.
    server.request_share_url = lambda verbose=True: None
    server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
    return server


def announce(settings: ViewerSettings, port: int) -> None:
    """Says in one line where the page is, and warns where everyone can see it."""
    if not is_own(settings.host):
        _log.warning(
            "viewer.host=%s: everyone on the network can see this page and steer it: it asks for no"
            " password",
            settings.host,
        )
    _log.info("viewer: %s", address_of(settings.host, port))


def foreign_site(server: "viser.ViserServer", client_id: int, names: Sequence[str]) -> str:
    """The site of a visitor's page, if it is somebody else's, open in a browser of this computer.

    Browsers let any page connect to any address, but say which one it is; programs say nothing.
    A page whose name leads to this computer is its own to the browser ("DNS rebinding"): where
    only this computer can look in, it has to be called so. Sites of ``names`` are welcome.
    """
    connection = server._websock_server._live_connections.get(client_id)
    headers = getattr(getattr(connection, "request", None), "headers", {})
    origin = headers.get("Origin")
    if origin is None:
        return ""
    site = urlsplit(origin)
    name = site.hostname or ""
    known = not is_own(server.get_host()) or is_own(name)
    return "" if name in names or (known and site.netloc == headers.get("Host")) else origin


def free_port(host: str, wanted: int) -> int:
    """The first free port from ``wanted`` on; SettingError where there is none."""
    for port in range(wanted, min(wanted + PORTS_TRIED, 1 << 16)):
        if _can_listen(host, port):
            return port
    raise SettingError(
        f"viewer.port={wanted}: neither it nor any of the {PORTS_TRIED} ports from it on is free:"
        " give another one."
    )


def _can_listen(host: str, port: int) -> bool:
    """Whether a port is free; SettingError where the address itself is no good."""
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, place in places:
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(place)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES):
            return False
        # Of names that are too long, or of letters that none has, Python speaks of codecs.
        reason = reason_of(error) if isinstance(error, OSError) else "no machine has such a name"
        raise SettingError(
            f"viewer.host={host} is no address of this machine ({reason}): give"
            " 127.0.0.1 for this computer alone, or 0.0.0.0 for the network."
        ) from error
    return True


def is_own(host: str) -> bool:
    """Whether an address can be reached from this computer alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost" or host.endswith(".localhost")


def address_of(host: str, port: int) -> str:
    """What to type into a browser on this computer."""
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

"""Where the page is, who is warned of it, and what is said where there can be none."""

import logging
import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from neural_render.core.errors import SettingError, UserError
from neural_render.viewer import server as servers
from neural_render.viewer.server import (
    address_of,
    announce,
    foreign_site,
    free_port,
    is_own,
    load_viser,
    open_server,
)
from neural_render.viewer.settings import ViewerSettings


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == level]


def taken_port() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def test_the_address_is_said_in_one_line_and_nothing_else(caplog, capfd):
    with caplog.at_level(logging.INFO, logger="neural_render"), taken_port() as other:
        wanted = other.getsockname()[1]
        server = open_server(ViewerSettings(port=wanted), "ball")
        port = server.get_port()
        announce(ViewerSettings(port=wanted), port)
        server.stop()
    assert port > wanted  # that one is taken: the next one that is free
    assert said(caplog, logging.INFO) == [f"viewer: http://127.0.0.1:{port}"]
    assert said(caplog, logging.WARNING) == []
    assert capfd.readouterr() == ("", "")


def test_whoever_opens_the_page_to_the_network_is_warned(caplog):
    with caplog.at_level(logging.INFO, logger="neural_render"):
        announce(ViewerSettings(host="0.0.0.0"), 8080)
    (warning,) = said(caplog, logging.WARNING)
    assert warning.startswith("viewer.host=0.0.0.0: everyone on the network can see this page and")


def test_a_visitor_cannot_publish_the_page():
    server = open_server(ViewerSettings(port=28090), "ball")
    assert server.request_share_url() is None
    server.stop()


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host.invalid", "x" * 300, "\udcff"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(SettingError, match=r"viewer.host=.* is no address of this machine \("):
        free_port(host, 28100)


def test_without_a_free_port_the_user_is_asked_for_another(monkeypatch):
    monkeypatch.setattr(servers, "PORTS_TRIED", 1)
    with taken_port() as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingError, match=f"viewer.port={port}: neither it nor any of the"):
            free_port("127.0.0.1", port)


def test_without_viser_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(UserError, match=r'needs viser, .*: pip install -e "\.\[viewer\]" in the'):
        load_viser()


@pytest.mark.parametrize(
    ("host", "own", "address"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:80"),
        ("localhost", True, "http://localhost:80"),
        ("::1", True, "http://[::1]:80"),
        ("0.0.0.0", False, "http://127.0.0.1:80"),
        ("10.0.0.5", False, "http://10.0.0.5:80"),
        ("studio.local", False, "http://studio.local:80"),
    ],
)
def test_addresses(host, own, address):
    assert is_own(host) is own
    assert address_of(host, 80) == address


@pytest.mark.parametrize(
    ("origin", "host", "names", "welcome"),
    [
        (None, "anything", [], True),  # a program
        ("http://localhost:8080", "localhost:8080", [], True),
        ("http://[::1]:9000", "[::1]:9000", [], True),
        ("http://box.localhost:8080", "box.localhost:8080", [], True),
        ("https://elsewhere.example", "127.0.0.1:8080", [], False),
        ("http://elsewhere.example:8080", "elsewhere.example:8080", [], False),
        ("https://my.proxy.example", "127.0.0.1:8080", ["my.proxy.example"], True),
        ("null", "127.0.0.1:8080", [], False),  # a file, or a page without a site
    ],
)
def test_pages_of_this_computer_and_of_names_are_welcome(
    origin: str | None, host: str, names: list[str], welcome: bool
) -> None:
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    connection = SimpleNamespace(request=SimpleNamespace(headers=headers))
    server: Any = SimpleNamespace(
        get_host=lambda: "127.0.0.1",
        _websock_server=SimpleNamespace(_live_connections={3: connection}),
    )
    assert foreign_site(server, 3, names) == ("" if welcome else origin)

"""How the page's controls are heard: what a browser changes is left for the viewer's own thread.

With it goes the value that the control had then: by the time that thread comes to it, another
control may have changed what this one shows.
"""

from collections.abc import Callable
from typing import Any

Action = Callable[[], None]
Post = Callable[[Action], None]


def on_change(control: Any, post: Post, action: Callable[[Any], None]) -> None:
    """Lets ``action`` take the value that a browser, and not this program, gave a control."""

    async def heard(event: Any) -> None:
        value = event.target.value
        if event.client is not None:
            post(lambda: action(value))

    control.on_update(heard)


def on_press(button: Any, post: Post, action: Callable[[Any], None]) -> None:
    """Lets ``action`` take the value of a button that somebody pressed: which one of a group."""

    async def heard(event: Any) -> None:
        value = event.target.value
        post(lambda: action(value))

    button.on_click(heard)


def on_pick(thing: Any, post: Post, action: Action) -> None:
    """Lets ``action`` be done after somebody clicked a thing in the scene."""

    async def heard(event: Any) -> None:
        post(action)

    thing.on_click(heard)

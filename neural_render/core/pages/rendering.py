"""Templates to pages: text is escaped, assets lie inside, and no server is ever asked.

A template extends ``shell.html`` of this folder, whose content security policy forbids the browser
every request, and fills its blocks. Beside what it is given it can call ``asset("name.css")`` for
the text of a file, as it is.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neural_render.core.files import whole_file

if TYPE_CHECKING:
    from jinja2 import Environment

OWN = Path(__file__).parent


def write_page(path: Path, template: Path, **content: Any) -> None:
    """Writes the page that ``template`` makes of ``content``; OutputError where that cannot be."""
    text = page_text(template, **content)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page_text(template: Path, **content: Any) -> str:
    """The page that ``template`` makes of ``content``, in which all text is escaped."""
    return _environment(template.parent).get_template(template.name).render(**content)


@lru_cache
def _environment(folder: Path) -> "Environment":
    """The templates of a folder, beside those that all pages share."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folders = (folder, OWN)

    def asset(name: str) -> Markup:
        """A style sheet or a script, which is no template and needs no escape."""
        (path, *_) = (place / name for place in folders if (place / name).is_file())
        return Markup(path.read_text(encoding="utf-8"))

    made = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    made.globals["asset"] = asset
    return made

"""What pages must be: well formed, and whole in one file."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input"}
SELF_CLOSED = {"path", "polyline"}
REFERENCES = ("src", "href", "srcset", "action", "data", "poster", "xlink:href")
NAMESPACE = "http://www.w3.org/2000/svg"  # a name, which nobody asks for
ASKING = re.compile(r"https?:|@import|url\((?!data:)|\b(fetch|XMLHttpRequest|WebSocket)\b")


class Page(HTMLParser):
    """A page's tags, attributes and text; AssertionError where a tag closes that was not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    @property
    def text(self) -> str:
        """What a reader sees, and the scripts."""
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for key, value in attrs if key in REFERENCES]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED, f"<{tag}/> is not closed in HTML"
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outside(text: str) -> list[str]:
    """Whatever in a page refers to something that is not in it, or lets a browser ask for it."""
    references = Page(text).references
    found = [each for each in references if not each.startswith(("data:", "#"))]
    found += [match[0] for match in ASKING.finditer(text.replace(NAMESPACE, ""))]
    if "default-src 'none'" not in text:
        found.append("no content security policy")
    return found

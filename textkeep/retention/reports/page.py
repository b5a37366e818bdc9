"""A report as a page: one HTML file that needs nothing else, prints well and holds no script."""

from functools import lru_cache
from importlib import resources
from typing import Final

from jinja2 import Environment, StrictUndefined, Template

from textkeep.retention.reports.layout import sections, title_of
from textkeep.retention.reports.parts import Document
from textkeep.retention.reports.report import digest

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The content security policy that the page is served with; the page itself names it too."""


def page(content: bytes, document: Document) -> str:
    """The page of a report; `content` are its bytes, whose digest is shown, `document` what they say."""
    return _template().render(
        title=title_of(document),
        verdict=document["verdict"],
        digest=digest(content),
        size=len(content),
        policy=POLICY,
        sections=sections(document),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    source = resources.files("textkeep.retention.reports").joinpath("report.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        source
    )

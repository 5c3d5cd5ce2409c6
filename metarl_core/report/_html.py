"""Parts of a self-contained HTML page."""

from __future__ import annotations

import base64
import io
import time
from html import escape

from matplotlib.figure import Figure

from metarl_core._build_info import build_info
from metarl_core.report._style import CSS

__all__ = ["document", "figure", "png"]

_DPI = 130


def document(title: str, subject: str, body: str, css: str = "") -> str:
    """Make a page that needs no other file.

    Args:
        title: Of the window; text.
        subject: What the report is on, in the head of the page; text.
        body: HTML.
        css: Beyond that of all reports.
    """
    made = time.strftime("%Y-%m-%d %H:%M")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)} · metarl_core report</title>
<style>{CSS}{css}</style>
</head>
<body>
<header><span class="brand">metarl_core</span> report on {escape(subject)}<span class="made">
{made} · version {escape(build_info()["version"])}</span></header>
<main>
{body}
</main>
</body>
</html>
"""


def png(picture: Figure) -> bytes:
    """Draw a figure."""
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def figure(picture: bytes, title: str, caption: str, alt: str | None = None) -> str:
    """Embed a PNG with its heading and caption; ``alt`` says what is seen to those who cannot see it."""
    data = base64.b64encode(picture).decode()
    alt = f"{title}. {caption}" if alt is None else alt
    return (
        f'<figure><h2>{escape(title)}</h2><img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )

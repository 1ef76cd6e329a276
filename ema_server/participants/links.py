"""Where a code leads: the link in a QR code, the app's own link, and the picture. The format is in docs/enrolment.md."""

from __future__ import annotations

import base64
from io import BytesIO
from urllib.parse import urlencode

import qrcode
from django.conf import settings
from qrcode.image.svg import SvgPathImage

GROUP = 5


def web_link(code: str) -> str:
    """Opens the app, or a page that says what to do. The code is in the fragment, which no browser sends anywhere."""
    return f"{settings.EMA_PUBLIC_URL}/join#{code}"


def app_link(code: str) -> str:
    return f"ema://join?{urlencode({'server': settings.EMA_PUBLIC_URL, 'code': code})}"


def in_groups(code: str) -> str:
    """As people read it aloud."""
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))


def qr_image(text: str) -> str:
    """A QR code as the address of an image, for a page that may load nothing."""
    drawing = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=2, image_factory=SvgPathImage)
    drawing.add_data(text)
    into = BytesIO()
    drawing.make_image().save(into)
    return f"data:image/svg+xml;base64,{base64.b64encode(into.getvalue()).decode()}"

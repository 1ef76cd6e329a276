"""The body of a phone's call, unpacked: never more of it than a body may hold."""

from __future__ import annotations

import zlib

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

from ema_server.common.errors import DomainError

ENCODINGS = ("gzip", "identity")
_GZIP = 16 + zlib.MAX_WBITS


class UnknownEncoding(DomainError):
    code = "unsupported_media_type"
    status = 415


class BrokenBody(DomainError):
    code = "malformed"
    status = 400


class BatchTooLarge(DomainError):
    code = "batch_size"
    status = 413

    def __init__(self, detail: str, *, limit: int) -> None:
        super().__init__(detail)
        self.more = {"limit_items": limit}


def body_of(request: HttpRequest) -> bytes:
    """What was sent. Raises RequestDataTooBig for more than a body may hold, packed or unpacked: of a bomb no more than that
    is ever unpacked."""
    packed: bytes = request.body
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding in ("", "identity"):
        return packed
    if encoding != "gzip":
        refused = UnknownEncoding(f"Content-Encoding: {encoding[:40]!r} is not read; send {' or '.join(ENCODINGS)}.")
        refused.more = {"accepted": list(ENCODINGS)}
        raise refused
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    unpacking = zlib.decompressobj(_GZIP)
    try:
        body = unpacking.decompress(packed, most + 1)
    except zlib.error as error:
        raise BrokenBody(f"Content-Encoding: the body is no gzip ({error}).") from error
    if len(body) > most:
        raise RequestDataTooBig(f"The body holds more than {most} bytes.")
    if not unpacking.eof or unpacking.unused_data:
        raise BrokenBody("Content-Encoding: the gzip body is cut off, or something follows it. Send it again, whole.")
    return body

"""Requests that two servers could understand differently, most with a second one inside: one answer at most."""

from dataclasses import dataclass

INNER = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


@dataclass(frozen=True)
class Shape:
    """``sent``: the bytes, with ``{token}`` for a good one. ``answers``: how many there may be at most."""

    name: str
    sent: bytes
    answers: int = 1


def _post(fields: bytes, body: bytes, *, version: bytes = b"1.1", target: bytes = b"/ai-invoke") -> bytes:
    known = b"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    return b"POST " + target + b" HTTP/" + version + b"\r\n" + known + fields + b"\r\n" + body


def _length(text: bytes, body: bytes = INNER) -> bytes:
    return _post(b"Content-Length: " + text + b"\r\n", body)


def _coding(line: bytes, body: bytes = b"0\r\n\r\n" + INNER) -> bytes:
    return _post(line + b"\r\n", body)


def _chunks(body: bytes) -> bytes:
    return _post(_CHUNKED, body)


_SIZE = b"%d" % len(INNER)
_GET = INNER

SHAPES = (
    Shape("length and chunked", _post(b"Content-Length: 5\r\n" + _CHUNKED, b"0\r\n\r\n" + INNER)),
    Shape("chunked and length", _post(_CHUNKED + b"Content-Length: " + _SIZE + b"\r\n", b"0\r\n\r\n" + INNER)),
    Shape("two lengths", _post(b"Content-Length: 0\r\nContent-Length: " + _SIZE + b"\r\n", INNER)),
    Shape("the same length twice", _post(b"Content-Length: 0\r\nContent-Length: 0\r\n", INNER)),
    Shape("a list of lengths", _length(b"0, " + _SIZE)),
    Shape("a length with a plus", _length(b"+0")),
    Shape("a negative length", _length(b"-1")),
    Shape("a hexadecimal length", _length(b"0x0")),
    Shape("a length with an exponent", _length(b"0e1")),
    Shape("a length in two words", _length(b"0 " + _SIZE)),
    Shape("a length beyond 64 bits", _length(b"18446744073709551616")),
    Shape("an empty length", _length(b"")),
    Shape("a length with a comment", _length(b"0;a=b")),
    Shape("a space before the colon", _post(b"Content-Length : 0\r\n", INNER)),
    Shape("a tab before the coding's colon", _coding(b"Transfer-Encoding\t: chunked")),
    Shape("a vertical tab in a name", _coding(b"Transfer-Encoding\x0b: chunked")),
    Shape("an unknown coding", _coding(b"Transfer-Encoding: xchunked")),
    Shape("chunked, then identity", _coding(b"Transfer-Encoding: chunked, identity")),
    Shape("identity", _coding(b"Transfer-Encoding: identity")),
    Shape("gzip, then chunked", _coding(b"Transfer-Encoding: gzip, chunked")),
    Shape("two codings in two fields", _coding(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
    Shape("a coding in quotes", _coding(b'Transfer-Encoding: "chunked"')),
    Shape("a coding with a NUL", _coding(b"Transfer-Encoding: chunked\x00")),
    Shape("a coding in HTTP/1.0", _post(_CHUNKED, b"0\r\n\r\n" + INNER, version=b"1.0")),
    Shape("an obsolete fold", _post(b"X-A: b\r\n Content-Length: 0\r\n", INNER)),
    Shape("a folded coding", _coding(b"Transfer-Encoding:\r\n chunked")),
    Shape("a fold before the first field", _GET.replace(b"Host", b" Content-Length: 0\r\nHost") + INNER),
    Shape("bare line feeds", _length(b"0").replace(b"\r\n", b"\n")),
    Shape("a bare carriage return", _post(b"X-A: b\rContent-Length: 5\r\n", INNER)),
    Shape("a NUL in a value", _post(b"X-A: b\x00c\r\nContent-Length: 0\r\n", INNER)),
    Shape("a NUL in a name", _post(b"X-\x00A: b\r\nContent-Length: 0\r\n", INNER)),
    Shape("a field without a colon", _post(b"X-A\r\nContent-Length: 0\r\n", INNER)),
    Shape("a field without a name", _post(b": b\r\nContent-Length: 0\r\n", INNER)),
    Shape("a chunk size with 0x", _chunks(b"0x0\r\n\r\n" + INNER)),
    Shape("a negative chunk size", _chunks(b"-1\r\n\r\n" + INNER)),
    Shape("a chunk size beyond 64 bits", _chunks(b"10000000000000000\r\n\r\n" + INNER)),
    Shape("a chunk size with an underscore", _chunks(b"0_0\r\n\r\n" + INNER)),
    Shape("a space before a chunk size", _chunks(b" 0\r\n\r\n" + INNER)),
    Shape("a chunk without its line end", _chunks(b"1\r\nZ0\r\n\r\n" + INNER)),
    Shape("a bare line feed behind a chunk size", _chunks(b"0\n\n" + INNER)),
    Shape("a line feed in a chunk extension", _chunks(b"0;a\nb\r\n\r\n" + INNER)),
    Shape("a huge chunk extension", _chunks(b"5;" + b"a" * 300_000 + b"\r\nhello\r\n" + b"0\r\n\r\n"), 1),
    Shape("a length among the trailers", _chunks(b"0\r\nContent-Length: " + _SIZE + b"\r\n\r\n"), 1),
    Shape("a token among the trailers", _chunks(b"0\r\nAuthorization: Bearer nobody-0123456789\r\n\r\n"), 1),
    Shape("another host's address", b"GET http://evil.example/healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    Shape("a tunnel", b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n" + INNER),
    Shape("an asterisk", b"OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
    Shape("HTTP/1.2", b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n" + INNER),
    Shape("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER),
    Shape("HTTP/0.9", b"GET /healthz\r\n" + INNER),
    Shape("no host", b"GET /healthz HTTP/1.1\r\n\r\n"),
    Shape("two hosts", b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
    Shape("an upgrade to h2c", _post(b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n", b"{}" + INNER)),
    Shape("an upgrade to nothing we know", _GET.replace(b"Host", b"Connection: upgrade\r\nUpgrade: y\r\nHost") + INNER),
    Shape("a method in small letters", b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    Shape("a body with GET", b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: " + _SIZE + b"\r\n\r\n" + INNER),
    Shape("more behind the last request", b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + INNER),
    Shape("two tokens", _post(b"Authorization: Bearer nobody-0123456789\r\nContent-Length: 0\r\n", b"")),
    Shape("a space in the target", b"GET /healthz /ai-keys HTTP/1.1\r\nHost: x\r\n\r\n"),
    Shape("a control sign in the target", b"GET /health\x0bz HTTP/1.1\r\nHost: x\r\n\r\n"),
)  # fmt: skip
# What is in order is answered, or the rest would prove nothing.
CONTROLS = (
    Shape("one after the other", INNER + INNER, 2),
    Shape("chunked and pipelined", _post(_CHUNKED, b"2\r\n{}\r\n0\r\n\r\n") + INNER, 2),
    Shape("a length and pipelined", _post(b"Content-Length: 2\r\n", b"{}") + INNER, 2),
    Shape("chunked in capitals", _post(b"TRANSFER-ENCODING: CHUNKED\r\n", b"2;a=b\r\n{}\r\n0\r\n\r\n"), 1),
)

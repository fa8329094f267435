"""Remote write 1.0 bodies in plain Python: protobuf by hand, snappy as literals (a valid, uncompressed block)."""

import struct


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field_bytes(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def label(name, value):
    return field_bytes(1, as_bytes(name)) + field_bytes(2, as_bytes(value))


def sample(time_ms, value):
    """`value` is a float, or an int of 64 bits with a prefix: ("bits", 0x7ff...)."""
    bits = struct.pack("<Q", value[1]) if isinstance(value, tuple) else struct.pack("<d", value)
    return b"\x09" + bits + b"\x10" + varint(time_ms)


def series(labels, samples, extra=b""):
    """`labels`: dict or list of pairs, in the order to be sent; samples: [(time_ms, value), ...]."""
    pairs = sorted(labels.items()) if isinstance(labels, dict) else labels
    body = b"".join(field_bytes(1, label(n, v)) for n, v in pairs)
    body += b"".join(field_bytes(2, sample(t, v)) for t, v in samples)
    return body + extra


def write_request(*all_series, extra=b""):
    return b"".join(field_bytes(1, s) for s in all_series) + extra


def snappy(raw):
    out = bytearray(varint(len(raw)))
    for at in range(0, len(raw), 60):
        piece = raw[at:at + 60]
        out.append((len(piece) - 1) << 2)
        out += piece
    return bytes(out)


def snappy_large(raw):
    """The same in literals of 64 KiB: for bodies of megabytes."""
    out = bytearray(varint(len(raw)))
    for at in range(0, len(raw), 65536):
        piece = raw[at:at + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def body(*all_series, extra=b""):
    return snappy(write_request(*all_series, extra=extra))


def signed(value):
    return varint(value << 1 ^ value >> 63)


def double(number, value):
    return varint(number << 3 | 1) + struct.pack("<d", value)


def histogram(time_ms, count, total, deltas, schema=3, offset=0, hint=0):
    """An integer one with one span of positive buckets; `deltas` as on the wire."""
    span = b"\x08" + signed(offset) + b"\x10" + varint(len(deltas))
    out = b"\x08" + varint(count) + double(3, total) + b"\x20" + signed(schema)
    out += double(5, 2.0 ** -128) + b"\x30\x00"
    out += field_bytes(11, span) + field_bytes(12, b"".join(signed(d) for d in deltas))
    return field_bytes(4, out + b"\x70" + varint(hint) + b"\x78" + varint(time_ms))


def exemplar(time_ms, value, **labels):
    out = b"".join(field_bytes(1, label(n, v)) for n, v in sorted(labels.items()))
    return field_bytes(3, out + double(2, value) + b"\x18" + varint(time_ms))


def metadata(family, kind, text="", unit=""):
    """`kind` is the number of the wire: 1 counter, 2 gauge, 3 histogram, ..."""
    return field_bytes(3, b"\x08" + varint(kind) + field_bytes(2, as_bytes(family)) + field_bytes(4, as_bytes(text)) +
                       field_bytes(5, as_bytes(unit)))

#!/usr/bin/env python3
"""An independent reader of devvault vaults, written from src/format/FORMAT.md alone.

    reader.py verify  VAULT KEYFILE [--head NUMBER:DIGEST]     full verification, one JSON document on stdout
    reader.py extract VAULT KEYFILE NUMBER DEST                restore one snapshot into a new or empty directory
    reader.py list    VAULT KEYFILE NUMBER                     the entries of a snapshot, one JSON line each
    reader.py vectors DIRECTORY                                decode test vectors, one JSON document on stdout

It needs Python 3.11 and, from PyPI, `blake3` and `zstandard`. It shares no code with devvault: where the two disagree,
one of them or the specification is wrong. Section numbers in the comments are those of FORMAT.md.
"""

import base64
import binascii
import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import sys
import tempfile
from collections import OrderedDict, deque

import zstandard
from blake3 import blake3

# ---------------------------------------------------------------------------------------------------------------------
# Section 13: bounds

RECORD_BYTES_MAX = 67108864
CONFIG_BYTES_MAX = 65536
MAC_FILE_BYTES = 65
CHUNK_BYTES_MAX = 8388608
BLOCK_PLAIN_BYTES_MAX = 16777216
BLOCK_STORED_BYTES_MAX = 16777216
BLOCK_CHUNKS_MAX = 65536
PACK_BLOCKS_MAX = 65536
PACK_CHUNKS_MAX = 4194304
PACK_BYTES_MAX = 1073741824
ENTRY_CHUNKS_MAX = 1024
ENTRY_LISTS_MAX = 4096
LIST_CHUNKS_MAX = 16384
SEGMENT_ENTRIES_MAX = 1024
SEGMENT_LIST_MAX = 4096
MANIFEST_LISTS_MAX = 262144
OBJECT_BYTES_MAX = 8388608
MANIFEST_EXCLUSIONS_MAX = 65536
MANIFEST_PACKS_MAX = 1024
PACK_LIST_MAX = 16384
XATTRS_MAX = 512
XATTR_NAME_BYTES_MAX = 1024
XATTR_INLINE_BYTES_MAX = 4096
XATTR_BYTES_MAX = 67108864
XATTR_CHUNKS_MAX = 1024
OWNER_BYTES_MAX = 256
ENTRY_HOLES_MAX = 4096
LIST_HOLES_MAX = 16384
COMPONENT_BYTES_MAX = 1024
PATH_BYTES_MAX = 1048576
TARGET_BYTES_MAX = 65536
JSON_INTEGER_MAX = 9007199254740991
RECORD_NUMBER_MAX = 99999999
INDEX_BYTES_MAX = 4294967296
COUNT_MAX = 2**62 - 1
NAMES_MAX = 4000000

U32_MAX = 2**32 - 1
U64_MAX = 2**64 - 1

HEADER_BYTES = 48
TABLE_BYTES_MAX = 48 + 46 * PACK_BLOCKS_MAX + 36 * PACK_CHUNKS_MAX
TRAILER_BYTES = 52

PACK_MAGIC = b"devvault-pack/1\n"
FOOT_MAGIC = b"devvault-foot/1\n"
INDEX_MAGIC = b"devvault-indx/1\n"


class Refused(Exception):
    """What the specification says a reader refuses."""


def need(condition, why):
    if not condition:
        raise Refused(why)


# ---------------------------------------------------------------------------------------------------------------------
# Section 3.1 to 3.3: digests, keys, tags


def digest(data):
    return blake3(data).hexdigest()


def subkey(secret, vault, domain):
    return blake3(secret + vault, derive_key_context="devvault format 1 mac " + domain).digest()


def key_id(secret):
    return blake3(secret, derive_key_context="devvault format 1 key id").digest()[:16]


def make_tag(secret, vault, domain, number, data):
    message = domain.encode("ascii") + b"\0" + vault + number.to_bytes(8, "big") + data
    return hmac.new(subkey(secret, vault, domain), message, hashlib.sha256).digest()


def tag_matches(key, domain, number, data, tag):
    return hmac.compare_digest(make_tag(key.secret, key.vault, domain, number, data), tag)


def parse_mac_file(data):
    need(len(data) == MAC_FILE_BYTES, "an hmac file is 65 bytes long")
    need(re.fullmatch(rb"[0-9a-f]{64}\n", data) is not None, "an hmac file is 64 digits and a line feed")
    return bytes.fromhex(data[:64].decode("ascii"))


# ---------------------------------------------------------------------------------------------------------------------
# Section 3.4: canonical JSON


def encode_json(value):
    """The canonical bytes of a value."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return text.encode("utf-8")


def _no_float(text):
    raise Refused("not an integer: " + text[:40])


def _object(pairs):
    keys = [key for key, _ in pairs]
    need(all(a < b for a, b in zip(keys, keys[1:])), "the keys of an object ascend")
    return dict(pairs)


def decode_json(data):
    """A value from its canonical bytes; any other encoding is refused."""
    try:
        text = data.decode("utf-8", "strict")
        value = json.loads(
            text, parse_float=_no_float, parse_constant=_no_float, object_pairs_hook=_object, strict=True
        )
        again = encode_json(value)
    except (ValueError, RecursionError) as error:
        raise Refused(f"not canonical JSON: {error}") from None
    need(again == data, "not canonical JSON: another encoding")
    return value


def decode_lines(data, most, what):
    """JSON lines: at least one, each with its line feed."""
    need(len(data) <= OBJECT_BYTES_MAX, what + " is too long")
    need(data.endswith(b"\n"), what + " does not end with a line feed")
    need(data.count(b"\n") <= most, what + " has too many lines")
    return [decode_json(line) for line in data[:-1].split(b"\n")]


def fields(value, required, optional=()):
    """That `value` is an object with all of the required keys and none beyond the optional."""
    need(type(value) is dict, "not an object")
    for key in required:
        need(key in value, f"{key} is missing")
    for key in value:
        need(key in required or key in optional, f"unknown key {key[:40]!r}")


def text(value):
    need(type(value) is str, "not a text")
    return value


def integer(value, low, high):
    need(type(value) is int and low <= value <= high, "not an integer of the range")
    return value


def u32(value):
    return integer(value, 0, U32_MAX)


def number(value, low=1):
    return integer(value, low, RECORD_NUMBER_MAX)


def wide(value, low, high):
    """u64 and i64: a number up to JSON_INTEGER_MAX in size, a decimal string above."""
    if type(value) is str:
        need(re.fullmatch(r"-?[1-9][0-9]{0,19}", value) is not None, "not a decimal string")
        result = int(value)
        need(abs(result) > JSON_INTEGER_MAX, "a string for a small integer")
    else:
        result = integer(value, -JSON_INTEGER_MAX, JSON_INTEGER_MAX)
    need(low <= result <= high, "integer out of range")
    return result


def u64(value):
    return wide(value, 0, U64_MAX)


def i64(value):
    return wide(value, -(2**63), 2**63 - 1)


def time(value):
    need(type(value) is list and len(value) == 2, "a time is a pair")
    return i64(value[0]), integer(value[1], 0, 999999999)


def hexadecimal(value, digits):
    need(type(value) is str and len(value) == digits and re.fullmatch("[0-9a-f]*", value), "not hexadecimal")
    return value


def identity(value):
    return bytes.fromhex(hexadecimal(value, 32))


def digest_text(value):
    return hexadecimal(value, 64)


def array(value):
    need(type(value) is list, "not an array")
    return value


def byte_keys(name):
    return (name, name + "_b64")


def base64_text(value):
    raw = text(value)
    try:
        result = base64.b64decode(raw.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Refused("not base64") from None
    need(base64.b64encode(result).decode("ascii") == raw, "not canonical base64")
    return result


def byte_field(value, name):
    """A field of type bytes, of which exactly one of two keys is there."""
    plain, coded = byte_keys(name)
    need((plain in value) != (coded in value), f"{name} needs exactly one of its keys")
    if plain in value:
        return text(value[plain]).encode("utf-8")
    result = base64_text(value[coded])
    try:
        result.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return result
    raise Refused(f"{coded} holds UTF-8")


# ---------------------------------------------------------------------------------------------------------------------
# Sections 4 and 5: the key file and vault.json


class Key:
    def __init__(self, secret, vault):
        self.secret = secret
        self.vault = vault
        self.id = key_id(secret)


def decode_key(data):
    need(len(data) <= CONFIG_BYTES_MAX, "the key file is too long")
    need(data.endswith(b"\n"), "a key file ends with a line feed")
    value = decode_json(data[:-1])
    if type(value) is dict and type(value.get("format")) is int:
        need(value["format"] == 1, "unknown format")
    fields(value, ("created", "format", "host", "key_id", "kind", "secret", "vault"))
    time(value["created"])
    need(u32(value["format"]) == 1, "unknown format")
    identity(value["host"])
    need(value["kind"] == "devvault key", "not a devvault key")
    key = Key(bytes.fromhex(hexadecimal(value["secret"], 64)), identity(value["vault"]))
    need(key.id == identity(value["key_id"]), "the key id is not that of the secret")
    return key


def power_of_two(value):
    return value & (value - 1) == 0


def decode_parameters(value):
    fields(
        value,
        (
            "block_bytes",
            "chunk_bytes_avg",
            "chunk_bytes_max",
            "chunk_bytes_min",
            "pack_bytes",
            "segment_entries",
            "segment_list",
        ),
    )
    integer(value["block_bytes"], 4096, 8388608)
    average = integer(value["chunk_bytes_avg"], 256, 4194304)
    most = integer(value["chunk_bytes_max"], 1024, 8388608)
    least = integer(value["chunk_bytes_min"], 64, 1048576)
    integer(value["pack_bytes"], 4096, 536870912)
    need(power_of_two(average), "chunk_bytes_avg is no power of two")
    need(most % 2 == 0 and least % 2 == 0, "chunk_bytes_max and chunk_bytes_min are even")
    need(least < average < most, "min < avg < max")
    need(power_of_two(integer(value["segment_entries"], 1, 512)), "segment_entries is no power of two")
    need(power_of_two(integer(value["segment_list"], 1, 2048)), "segment_list is no power of two")


def format_first(value):
    """Another format is told apart from damage, whatever else the object holds."""
    if type(value) is dict and type(value.get("format")) is int:
        need(value["format"] == 1, f"unknown format {value['format']}")


def decode_config(data):
    need(len(data) <= CONFIG_BYTES_MAX, "vault.json is too long")
    value = decode_json(data)
    format_first(value)
    fields(value, ("created", "features", "format", "key_id", "parameters", "program", "vault"))
    need(u32(value["format"]) == 1, "unknown format")
    time(value["created"])
    features = [text(name) for name in array(value["features"])]
    identity(value["key_id"])
    text(value["program"])
    identity(value["vault"])
    need(all(a.encode() < b.encode() for a, b in zip(features, features[1:])), "features ascend")
    need(not features, "unknown features")
    decode_parameters(value["parameters"])
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Section 6: records

KIND_OF_FILE = {"manifest": "snapshot", "tombstone": "tombstone", "branch": "branch"}


def decode_host(value):
    fields(value, ("id", "name"))
    identity(value["id"])
    text(value["name"])


def decode_head(value):
    fields(value, ("digest", "number"))
    return number(value["number"], 0), digest_text(value["digest"])


def parse_head(value):
    """The text `NUMBER:DIGEST`."""
    found = re.fullmatch(r"(0|[1-9][0-9]{0,7}):([0-9a-f]{64})", value)
    need(found is not None, "not a head")
    return int(found[1]), found[2]


def decode_pack_use(value):
    need(type(value) is list and len(value) == 3, "a pack use is [name,length,time]")
    name = digest_text(value[0])
    u64(value[1])
    time(value[2])
    return name


def ascending(values, what):
    need(all(a < b for a, b in zip(values, values[1:])), what + " are not strictly ascending")


def decode_parts(values, what):
    parts = [decode_part(value) for value in values]
    ascending([order(part.first) for part in parts], f"the first paths of {what}")
    return parts


class Part:
    def __init__(self, entries, first, id, length):
        self.entries, self.first, self.id, self.length = entries, first, id, length


def decode_part(value):
    fields(value, ("entries", "id", "length"), byte_keys("first"))
    entries = u64(value["entries"])
    need(entries > 0, "a part without entries")
    first = byte_field(value, "first")
    check_path(first)
    return Part(entries, first, digest_text(value["id"]), integer(value["length"], 1, OBJECT_BYTES_MAX))


EXCLUDED_BY = ("caches", "command", "devvaultignore", "exclude-from", "gitignore", "one-file-system", "own")


def decode_snapshot(body):
    fields(
        body,
        (
            "counts",
            "ended",
            "excluded",
            "host",
            "left_out",
            "lists",
            "packs",
            "program",
            "started",
            "tags",
            "unchanged_by",
        ),
        ("journal", "quiet") + byte_keys("source"),
    )
    counts = body["counts"]
    fields(counts, ("bytes", "directories", "files", "symlinks"), ("hardlinks", "specials"))
    for value in counts.values():
        need(u64(value) <= COUNT_MAX, "a count is too large")
    for name in ("hardlinks", "specials"):
        need(counts.get(name) != 0, f"{name} is left out where there are none")
    time(body["ended"])
    time(body["started"])
    need(len(array(body["excluded"])) <= MANIFEST_EXCLUSIONS_MAX, "too many rules")
    for value in body["excluded"]:
        fields(value, ("by", "objects", "rule"), ("line",) + byte_keys("from"))
        need(text(value["by"]) in EXCLUDED_BY, "an unknown kind of rule")
        u64(value["objects"])
        text(value["rule"])
        if "from" in value or "from_b64" in value:
            byte_field(value, "from")
        else:
            need("line" not in value, "a line of no file")
        if "line" in value:
            need(u64(value["line"]) > 0, "a line counts from 1")
    decode_host(body["host"])
    if "journal" in body:
        fields(body["journal"], ("digest", "number"))
        digest_text(body["journal"]["digest"])
        integer(body["journal"]["number"], 1, JSON_INTEGER_MAX)
    for value in array(body["left_out"]):
        fields(value, (), byte_keys("path"))
        check_path(byte_field(value, "path"))
    text(body["program"])
    if "quiet" in body:
        need(type(body["quiet"]) is bool, "quiet is true or false")
    byte_field(body, "source")
    for value in array(body["tags"]):
        text(value)
    for value in array(body["unchanged_by"]):
        text(value)

    # Section 7.3, rules 1 and 2, as far as the manifest alone tells.
    need(1 <= len(array(body["lists"])) <= MANIFEST_LISTS_MAX, "a manifest has 1 to MANIFEST_LISTS_MAX lists")
    parts = decode_parts(body["lists"], "a manifest")
    need(parts[0].first == b"", "the first list begins with the source itself")
    total = sum(u64(counts.get(name, 0)) for name in ("directories", "files", "specials", "symlinks"))
    need(sum(part.entries for part in parts) == total, "the entries of the lists are not those of the counts")

    # Section 9.5.
    packs = body["packs"]
    need(type(packs) is dict and len(packs) == 1, "packs has exactly one key")
    if "direct" in packs:
        need(len(array(packs["direct"])) <= MANIFEST_PACKS_MAX, "too many packs")
        ascending([decode_pack_use(use) for use in packs["direct"]], "packs")
    else:
        fields(packs, ("listed",))
        need(1 <= len(array(packs["listed"])) <= MANIFEST_PACKS_MAX, "too many or no pack lists")
        for value in packs["listed"]:
            need(type(value) is list and len(value) == 2, "a reference is [id,length]")
            digest_text(value[0])
            integer(value[1], 1, OBJECT_BYTES_MAX)


def decode_tombstone(body, own):
    fields(body, ("gone", "host", "reason", "rule", "time"))
    need(len(array(body["gone"])) > 0, "a tombstone names something")
    numbers = []
    for value in body["gone"]:
        fields(value, ("fate", "number"), ("digest",))
        need(value["fate"] in ("removed", "lost"), "unknown fate")
        if "digest" in value:
            digest_text(value["digest"])
        else:
            need(value["fate"] == "lost", "a removed record needs its digest")
        numbers.append(number(value["number"]))
    ascending(numbers, "the numbers that are gone")
    need(numbers[-1] < own, "a tombstone names only lower numbers")
    decode_host(body["host"])
    text(body["reason"])
    text(body["rule"])
    time(body["time"])


def decode_branch(body, own, predecessor):
    fields(body, ("branch", "from", "host", "reason", "time", "to"))
    identity(body["branch"])
    decode_host(body["host"])
    text(body["reason"])
    time(body["time"])
    need(decode_head(body["to"]) == (own - 1, predecessor), "a branch continues at its own place")
    need(decode_head(body["from"]) != (own - 1, predecessor), "a branch abandons another head than it continues")


def decode_record(data, kind):
    """A record's form. Whether it belongs here is `belongs`."""
    need(len(data) <= RECORD_BYTES_MAX, "the record is too long")
    value = decode_json(data)
    format_first(value)
    fields(value, ("body", "config", "format", "kind", "number", "predecessor", "vault"))
    need(u32(value["format"]) == 1, "unknown format")
    digest_text(value["config"])
    need(value["kind"] == kind, "the kind is not that of the file")
    own = number(value["number"])
    predecessor = digest_text(value["predecessor"])
    identity(value["vault"])
    if kind == "snapshot":
        decode_snapshot(value["body"])
    elif kind == "tombstone":
        decode_tombstone(value["body"], own)
    else:
        decode_branch(value["body"], own, predecessor)
    return value


def belongs(record, own, vault, config):
    need(record["number"] == own, "the number is not that of the directory")
    need(bytes.fromhex(record["vault"]) == vault, "a record of another vault")
    need(record["config"] == config, "a record under another vault.json")


# ---------------------------------------------------------------------------------------------------------------------
# Section 7.1 and 7.2: paths and their order


def check_path(path):
    need(len(path) <= PATH_BYTES_MAX, "the path is too long")
    need(b"\0" not in path, "a NUL byte in a path")
    if path:
        for part in path.split(b"/"):
            need(part not in (b"", b".", b".."), "a component of a path that is none")
            need(len(part) <= COMPONENT_BYTES_MAX, "a component is too long")


def order(path):
    """The sort key of a path."""
    return path.replace(b"/", b"\0")


def may_follow(before, entry):
    """Section 7.3, rule 6."""
    if order(entry.path) <= order(before.path):
        return False
    parent = entry.path.rpartition(b"/")[0]
    if before.path == parent:
        return before.kind == "directory"
    return parent == b"" or before.path.startswith(parent + b"/")


# ---------------------------------------------------------------------------------------------------------------------
# Section 8: entries and chunk lists


class Entry:
    pass


def decode_chunk_reference(value):
    need(type(value) is list and len(value) == 2, "a chunk reference is [id,length]")
    return digest_text(value[0]), integer(value[1], 1, CHUNK_BYTES_MAX)


def decode_list_reference(value):
    need(type(value) is list and len(value) == 3, "a list reference is [id,length,content]")
    content = u64(value[2])
    need(content > 0, "a chunk list without content")
    return digest_text(value[0]), integer(value[1], 1, OBJECT_BYTES_MAX), content


FILE_KEYS = ("chunks", "ctime", "hole_lists", "holes", "ino", "lists", "racy")


def decode_entry(value):
    need(type(value) is dict, "an entry is an object")
    kind = value.get("kind")
    common = ("attributes", "created", "flags", "gid", "group", "mode", "mtime", "streams", "uid", "user", "xattrs")
    common += byte_keys("path")
    names = ("links",) + byte_keys("hardlink")
    if kind == "directory":
        fields(value, ("kind",), common)
    elif kind == "file":
        fields(value, ("kind", "size"), common + names + FILE_KEYS)
    elif kind in ("symlink", "junction"):
        fields(value, ("kind",), common + names + byte_keys("target"))
    elif kind in ("block", "character"):
        fields(value, ("kind", "device"), common + names)
    elif kind in ("fifo", "socket"):
        fields(value, ("kind",), common + names)
    else:
        raise Refused("unknown kind of entry")

    entry = Entry()
    entry.kind = kind
    entry.path = byte_field(value, "path")
    check_path(entry.path)
    need(entry.path != b"" or kind == "directory", "the source itself is a directory")
    entry.mode = integer(value["mode"], 0, 4095) if "mode" in value else None
    entry.mtime = time(value["mtime"]) if "mtime" in value else None
    entry.size, entry.chunks, entry.lists, entry.target = 0, [], [], b""
    entry.holes, entry.hole_lists = [], []
    decode_metadata(entry, value)
    if kind in ("symlink", "junction"):
        entry.target = byte_field(value, "target")
        need(1 <= len(entry.target) <= TARGET_BYTES_MAX, "the length of a target")
        need(b"\0" not in entry.target, "a NUL byte in a target")
    if kind == "file":
        entry.size = u64(value["size"])
        if "ctime" in value:
            time(value["ctime"])
        if "ino" in value:
            u64(value["ino"])
        if "racy" in value:
            need(value["racy"] is True, "racy is true or absent")
        need(not ("holes" in value and "hole_lists" in value), "holes or lists of holes, not both")
        in_holes = 0
        if "holes" in value:
            need(1 <= len(array(value["holes"])) <= ENTRY_HOLES_MAX, "1 to ENTRY_HOLES_MAX holes")
            entry.holes = [decode_hole(one) for one in value["holes"]]
            check_holes(entry.holes, entry.size)
            in_holes = sum(length for _, length in entry.holes)
        elif "hole_lists" in value:
            need(1 <= len(array(value["hole_lists"])) <= ENTRY_LISTS_MAX, "1 to ENTRY_LISTS_MAX lists of holes")
            entry.hole_lists = [decode_list_reference(one) for one in value["hole_lists"]]
            in_holes = sum(content for _, _, content in entry.hole_lists)
            need(in_holes <= entry.size, "more holes than the file is long")
        data = entry.size - in_holes
        need(not ("chunks" in value and "lists" in value), "chunks or lists, not both")
        if "chunks" in value:
            need(1 <= len(array(value["chunks"])) <= ENTRY_CHUNKS_MAX, "1 to ENTRY_CHUNKS_MAX chunks")
            entry.chunks = [decode_chunk_reference(one) for one in value["chunks"]]
            need(sum(length for _, length in entry.chunks) == data, "the chunks do not add up to the size")
        elif "lists" in value:
            need(1 <= len(array(value["lists"])) <= ENTRY_LISTS_MAX, "1 to ENTRY_LISTS_MAX lists")
            entry.lists = [decode_list_reference(one) for one in value["lists"]]
            need(sum(content for _, _, content in entry.lists) == data, "the lists do not add up to the size")
        else:
            need(data == 0, "a file with a size and without content")
    return entry


def decode_hole(value):
    need(type(value) is list and len(value) == 2, "a hole is [offset,length]")
    return u64(value[0]), u64(value[1])


def check_holes(holes, size):
    before = -1
    for offset, length in holes:
        need(before < offset and 0 < length and offset + length <= size, "a hole is empty, out of order or outside")
        before = offset + length


def decode_hole_list(data):
    holes = [decode_hole(value) for value in decode_lines(data, LIST_HOLES_MAX, "a hole list")]
    check_holes(holes, 2**64 - 1)
    return holes


def decode_attributes(value):
    need(1 <= len(array(value)) <= XATTRS_MAX, "1 to XATTRS_MAX attributes")
    attributes = []
    for one in value:
        fields(one, (), ("chunks", "value") + byte_keys("name"))
        name = byte_field(one, "name")
        need(1 <= len(name) <= XATTR_NAME_BYTES_MAX and b"\0" not in name, "the name of an attribute")
        need(("value" in one) != ("chunks" in one), "an attribute has value or chunks")
        if "value" in one:
            inline, chunks = base64_text(one["value"]), []
            need(len(inline) <= XATTR_INLINE_BYTES_MAX, "a long value stands in the entry")
        else:
            need(1 <= len(array(one["chunks"])) <= XATTR_CHUNKS_MAX, "1 to XATTR_CHUNKS_MAX chunks")
            inline, chunks = b"", [decode_chunk_reference(chunk) for chunk in one["chunks"]]
            length = sum(length for _, length in chunks)
            need(XATTR_INLINE_BYTES_MAX < length <= XATTR_BYTES_MAX, "the length of a value in chunks")
        attributes.append((name, inline, chunks))
    ascending([name for name, _, _ in attributes], "the names of attributes")
    return attributes


def decode_metadata(entry, value):
    if "created" in value:
        time(value["created"])
    for name in ("attributes", "flags"):
        if name in value:
            integer(value[name], 1, U32_MAX)
    need(("uid" in value) == ("gid" in value), "both numbers of an owner or none")
    for name, number in (("user", "uid"), ("group", "gid")):
        if number in value:
            integer(value[number], 0, U32_MAX)
        if name in value:
            need(number in value, "the name of an owner without a number")
            length = len(text(value[name]).encode())
            need(1 <= length <= OWNER_BYTES_MAX and "\0" not in value[name], "the name of an owner")
    if "device" in value:
        need(type(value["device"]) is list and len(value["device"]) == 2, "a device is [major,minor]")
        for number in value["device"]:
            integer(number, 0, U32_MAX)
    entry.xattrs = decode_attributes(value["xattrs"]) if "xattrs" in value else []
    entry.streams = decode_attributes(value["streams"]) if "streams" in value else []
    entry.attribute_chunks = [chunk for _, _, chunks in entry.xattrs + entry.streams for chunk in chunks]
    entry.links = u64(value["links"]) if "links" in value else None
    need(entry.links is None or entry.links >= 2, "links is left out where there is one name")
    entry.hardlink = None
    if "hardlink" in value or "hardlink_b64" in value:
        entry.hardlink = byte_field(value, "hardlink")
        check_path(entry.hardlink)
        need(entry.links is not None, "a further name without a number of names")
        need(entry.hardlink != b"" and order(entry.hardlink) < order(entry.path), "the first name comes first")
    entry.value = value


# Everything but the name must agree in all names of an object.
def body_of(entry):
    hidden = byte_keys("path") + byte_keys("hardlink")
    return encode_json({key: value for key, value in entry.value.items() if key not in hidden})


def rest_of(entry):
    hidden = ("chunks", "ctime", "hole_lists", "holes", "ino", "kind", "lists", "mode", "mtime", "racy", "size")
    hidden += byte_keys("path") + byte_keys("target")
    rest = {key: value for key, value in entry.value.items() if key not in hidden}
    return [encode_json(rest)] if rest else []


def decode_segment(data):
    entries = [decode_entry(value) for value in decode_lines(data, SEGMENT_ENTRIES_MAX, "a segment")]
    for before, entry in zip(entries, entries[1:]):
        need(may_follow(before, entry), f"{entry.path!r} may not follow {before.path!r}")
    return entries


def decode_segment_list(data):
    return decode_parts(decode_lines(data, SEGMENT_LIST_MAX, "a segment list"), "a segment list")


def decode_chunk_list(data):
    return [decode_chunk_reference(value) for value in decode_lines(data, LIST_CHUNKS_MAX, "a chunk list")]


def decode_pack_list(data):
    names = [decode_pack_use(value) for value in decode_lines(data, PACK_LIST_MAX, "a pack list")]
    ascending(names, "the packs of a pack list")
    return names


# ---------------------------------------------------------------------------------------------------------------------
# Section 9: packs


class Block:
    def __init__(self, offset, stored, plain, encoding, kind, digest, chunks):
        self.offset, self.stored, self.plain = offset, stored, plain
        self.encoding, self.kind, self.digest, self.chunks = encoding, kind, digest, chunks


def be(data, at, size):
    return int.from_bytes(data[at : at + size], "big")


def decode_table(table, vault, length):
    """A footer's table, whose tag has matched, of a pack of `length` bytes: its pack id and blocks."""
    size = len(table)
    need(48 <= size <= TABLE_BYTES_MAX, "the length of the table")
    need(table[:16] == vault, "a pack of another vault")
    body, blocks, chunks = be(table, 32, 8), be(table, 40, 4), be(table, 44, 4)
    need(blocks <= PACK_BLOCKS_MAX and chunks <= PACK_CHUNKS_MAX, "too many blocks or chunks")
    need(size == 48 + 46 * blocks + 36 * chunks, "the table's length is not that of its counts")
    need(length <= PACK_BYTES_MAX, "the pack is too long")
    need(body + size + TRAILER_BYTES == length, "the body's length is not that of the file")
    result, offset, chunk_at, seen = [], HEADER_BYTES, 48 + 46 * blocks, 0
    for index in range(blocks):
        at = 48 + 46 * index
        stored, plain, encoding, kind = be(table, at, 4), be(table, at + 4, 4), table[at + 8], table[at + 9]
        count = be(table, at + 10, 4)
        need(1 <= stored <= BLOCK_STORED_BYTES_MAX, "the stored length of a block")
        need(1 <= plain <= BLOCK_PLAIN_BYTES_MAX, "the plain length of a block")
        need(encoding in (0, 1), "unknown encoding of a block")
        need(kind in (0, 1), "unknown kind of a block")
        need(1 <= count <= BLOCK_CHUNKS_MAX, "the chunk count of a block")
        need(encoding == 1 or stored == plain, "a raw block of two lengths")
        seen += count
        need(seen <= chunks, "the blocks have more chunks than the pack")
        inner, within = [], 0
        for _ in range(count):
            chunk_length = be(table, chunk_at + 32, 4)
            need(1 <= chunk_length <= CHUNK_BYTES_MAX, "the length of a chunk")
            inner.append((table[chunk_at : chunk_at + 32].hex(), within, chunk_length))
            within += chunk_length
            chunk_at += 36
        need(within == plain, "the chunks do not add up to the block")
        result.append(Block(offset, stored, plain, encoding, kind, table[at + 14 : at + 46].hex(), inner))
        offset += stored
    need(seen == chunks, "the blocks have fewer chunks than the pack")
    need(offset == body, "the blocks do not add up to the body")
    return table[16:32], result


def decode_footer(read, length, key):
    """The footer of a pack of `length` bytes, of which `read(offset, size)` gives any part."""
    need(HEADER_BYTES + 48 + TRAILER_BYTES <= length <= PACK_BYTES_MAX, "the length of the pack")
    trailer = read(length - TRAILER_BYTES, TRAILER_BYTES)
    need(trailer[36:] == FOOT_MAGIC, "the footer's magic")
    size = be(trailer, 32, 4)
    need(48 <= size <= TABLE_BYTES_MAX, "the length of the table")
    need(HEADER_BYTES + size + TRAILER_BYTES <= length, "the pack is too short for its table")
    table = read(length - TRAILER_BYTES - size, size)
    need(tag_matches(key, "footer", 0, table, trailer[:32]), "the footer's tag")
    pack, blocks = decode_table(table, key.vault, length)
    need(read(0, HEADER_BYTES) == PACK_MAGIC + key.vault + pack, "the header is not that of the footer")
    return pack, blocks


def decode_zstd(stored, plain):
    """One frame, or several, of together exactly `plain` bytes."""
    output, rest = [], stored
    total = 0
    while rest:
        decoder = zstandard.ZstdDecompressor().decompressobj()
        at = 0
        try:
            # In small steps, so that no more than the bound and a step comes out.
            while at < len(rest) and not decoder.eof:
                piece = decoder.decompress(rest[at : at + 512])
                at += 512
                total += len(piece)
                need(total <= plain, "a block decodes to more than its plain length")
                output.append(piece)
        except zstandard.ZstdError as error:
            raise Refused(f"not a zstd frame: {error}") from None
        need(decoder.eof, "a zstd frame is cut short")
        rest = decoder.unused_data + rest[at:]
    need(total == plain, "a block decodes to less than its plain length")
    return b"".join(output)


def decode_block(stored, block):
    need(len(stored) == block.stored, "a block is cut short")
    need(digest(stored) == block.digest, "the digest of a block")
    plain = stored if block.encoding == 0 else decode_zstd(stored, block.plain)
    need(len(plain) == block.plain, "the plain length of a block")
    return plain


def verify_pack(data, name, key):
    """A whole pack: its blocks, and for each the ids of its good chunks. Raises where the footer fails."""

    def read(offset, size):
        return data[offset : offset + size]

    pack, blocks = decode_footer(read, len(data), key)
    faults = []
    if digest(data) != name:
        faults.append("the pack is not what its name says")
    good = []
    for index, block in enumerate(blocks):
        fine = set()
        good.append(fine)
        try:
            plain = decode_block(data[block.offset : block.offset + block.stored], block)
        except Refused as why:
            faults.append(f"block {index}: {why}")
            continue
        for id, within, length in block.chunks:
            if digest(plain[within : within + length]) == id:
                fine.add((id, length))
            else:
                faults.append(f"block {index}: chunk {id} has another digest")
    return pack, blocks, good, faults


# ---------------------------------------------------------------------------------------------------------------------
# Section 10: index files


def decode_index(data, key):
    need(36 + 32 <= len(data) <= INDEX_BYTES_MAX, "the length of the index")
    need(tag_matches(key, "index", 0, data[:-32], data[-32:]), "the index's tag")
    data = data[:-32]
    need(data[:16] == INDEX_MAGIC, "the index's magic")
    need(data[16:32] == key.vault, "an index of another vault")
    at, packs = 36, []
    for _ in range(be(data, 32, 4)):
        need(at + 44 <= len(data), "the index is cut short")
        name, length, size = data[at : at + 32].hex(), be(data, at + 32, 8), be(data, at + 40, 4)
        at += 44
        need(at + size <= len(data), "the index is cut short")
        packs.append((name, length, decode_table(data[at : at + size], key.vault, length)))
        at += size
    need(at == len(data), "something follows the last pack of the index")
    return packs


# ---------------------------------------------------------------------------------------------------------------------
# Test vectors: the beginning of a file's name says what it is.


def decode_footer_alone(data, key):
    """A footer cut out of its pack: table, tag, length, magic."""
    need(len(data) >= TRAILER_BYTES and data[-16:] == FOOT_MAGIC, "the footer's magic")
    size = be(data, len(data) - 20, 4)
    need(48 <= size <= TABLE_BYTES_MAX and size + TRAILER_BYTES == len(data), "the length of the table")
    table = data[:size]
    need(tag_matches(key, "footer", 0, table, data[size : size + 32]), "the footer's tag")
    decode_table(table, key.vault, be(table, 32, 8) + len(data))


def decode_whole_pack(data, key):
    faults = verify_pack(data, digest(data), key)[3]
    need(not faults, faults)


def decode_chain(data, key):
    """The texts of a vault without packs, by their paths, and its head."""
    document = json.loads(data)
    with tempfile.TemporaryDirectory() as root:
        for path, content in document["files"].items():
            path = os.path.join(root, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(content)
        vault = Vault(root, key)
        vault.read_records()
        vault.check_chain()
    need(not vault.chain_faults, vault.chain_faults)
    need(vault.head == document["head"], f"the head is {vault.head}")
    need(vault.snapshots == document["snapshots"], f"the snapshots are {vault.snapshots}")


DECODERS = {
    "branch": lambda data, key: decode_record(data, "branch"),
    "chain": decode_chain,
    "chunks": lambda data, key: decode_chunk_list(data),
    "config": lambda data, key: decode_config(data),
    "entry": lambda data, key: decode_entry(decode_json(data)),
    "footer": decode_footer_alone,
    "holes": lambda data, key: decode_hole_list(data),
    "head": lambda data, key: parse_head(data.decode("utf-8", "strict")),
    "index": decode_index,
    "key": lambda data, key: decode_key(data),
    "mac": lambda data, key: parse_mac_file(data),
    "pack": decode_whole_pack,
    "packs": lambda data, key: decode_pack_list(data),
    "segment": lambda data, key: decode_segment(data),
    "segments": lambda data, key: decode_segment_list(data),
    "snapshot": lambda data, key: decode_record(data, "snapshot"),
    "tombstone": lambda data, key: decode_record(data, "tombstone"),
}


def decode_vector(name, data, key):
    """Why a vector is refused, or None."""
    try:
        DECODERS[name.partition("-")[0]](data, key)
    except Refused as why:
        return str(why)
    except UnicodeDecodeError as why:
        return str(why)
    return None


def decode_vectors(directory):
    key = decode_key(read_regular(os.path.join(directory, "test.key"), CONFIG_BYTES_MAX))
    result = {}
    for side in ("accept", "reject"):
        for name in list_directory(os.path.join(directory, side), absent_is_empty=True):
            with open(os.path.join(directory, side, name), "rb") as file:
                result[f"{side}/{name}"] = decode_vector(name, file.read(), key)
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Section 2: the vault's files


def read_regular(path, most):
    """A regular file within its bound, following no link in its place."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{os.fsdecode(path)}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        need(stat.S_ISREG(status.st_mode), f"{os.fsdecode(path)} is no regular file")
        need(status.st_size <= most, f"{os.fsdecode(path)} is longer than its bound")
        data = file.read(most + 1)
        need(len(data) <= most, f"{os.fsdecode(path)} is longer than its bound")
        return data


def list_directory(path, absent_is_empty):
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        need(absent_is_empty, f"{path} is absent")
        return []
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    need(stat.S_ISDIR(status.st_mode), f"{path} is no directory")
    names = []
    with os.scandir(path) as entries:
        for entry in entries:
            names.append(entry.name)
            need(len(names) <= NAMES_MAX, f"{path} has too many names")
    return sorted(names)


RECORD_NAME = re.compile(r"[0-9]{8}")
PACK_NAME = re.compile(r"[0-9a-f]{64}\.pack")
KNOWN_TOP = {"vault.json", "vault.hmac", "lock", "sweep.lock", "lock.holder", "snapshots", "packs", "index"}


class Pack:
    def __init__(self, name, path, length, blocks):
        self.name, self.path, self.length, self.blocks = name, path, length, blocks


class Vault:
    """A vault whose vault.json has authenticated."""

    def __init__(self, root, key):
        self.root, self.key = root, key
        self.findings = []
        config = read_regular(os.path.join(root, "vault.json"), CONFIG_BYTES_MAX)
        tag = parse_mac_file(read_regular(os.path.join(root, "vault.hmac"), MAC_FILE_BYTES))
        need(tag_matches(key, "config", 0, config, tag), "vault.json does not authenticate with this key")
        value = decode_config(config)
        need(bytes.fromhex(value["vault"]) == key.vault, "vault.json has another vault id than the key")
        need(bytes.fromhex(value["key_id"]) == key.id, "vault.json has another key id than the key")
        self.config = digest(config)
        self.places = {}
        self.good = set()
        self.packs = []
        self.cache = OrderedDict()

    def finding(self, kind, what):
        self.findings.append({"kind": kind, "what": what})

    # Section 12.1, step 3.
    def read_records(self):
        self.records, self.failures = {}, {}
        directory = os.path.join(self.root, "snapshots")
        self.numbers = []
        for name in list_directory(directory, absent_is_empty=False):
            if RECORD_NAME.fullmatch(name) and name != "00000000":
                self.numbers.append(int(name))
            elif name.startswith(".incomplete-"):
                self.finding("information", f"snapshots/{name}: an unfinished record")
            else:
                self.finding("foreign", f"snapshots/{name}")
        for own in self.numbers:
            try:
                self.records[own] = self.read_record(os.path.join(directory, f"{own:08}"), own)
            except Refused as why:
                self.failures[own] = str(why)

    def read_record(self, directory, own):
        names = list_directory(directory, absent_is_empty=False)
        stems = [name[:-5] for name in names if name.endswith(".json")]
        need(len(stems) == 1 and stems[0] in KIND_OF_FILE, "a record directory holds one record")
        stem = stems[0]
        need(names == [stem + ".hmac", stem + ".json"], "a record directory holds exactly two files")
        kind = KIND_OF_FILE[stem]
        tag = parse_mac_file(read_regular(os.path.join(directory, stem + ".hmac"), MAC_FILE_BYTES))
        data = read_regular(os.path.join(directory, stem + ".json"), RECORD_BYTES_MAX)
        need(tag_matches(self.key, kind, own, data, tag), "the tag does not match")
        record = decode_record(data, kind)
        belongs(record, own, self.key.vault, self.config)
        return record, digest(data)

    # Section 6.5.
    def check_chain(self, expected=None):
        highest = max(self.numbers, default=0)
        self.covered = {}
        faults = []
        for own in range(highest, 0, -1):
            if own in self.covered or own not in self.records:
                continue
            record, _ = self.records[own]
            if record["kind"] == "tombstone":
                for gone in record["body"]["gone"]:
                    self.covered.setdefault(gone["number"], set()).add(gone.get("digest"))
        known = {0: self.config}
        for own in range(1, highest + 1):
            if own in self.covered:
                digests = self.covered[own] - {None}
                if len(digests) > 1:
                    faults.append(f"tombstones give different digests for record {own}")
                if digests:
                    known[own] = min(digests)
                    if own in self.records and self.records[own][1] != known[own]:
                        faults.append(f"record {own} is not what its tombstone says")
                continue
            if own not in self.records:
                faults.append(f"record {own}: {self.failures.get(own, 'missing')}")
                continue
            record, own_digest = self.records[own]
            known[own] = own_digest
            if own - 1 in known:
                if record["predecessor"] != known[own - 1]:
                    faults.append(f"record {own} has another predecessor")
        self.head = f"{highest}:{known[highest]}" if highest in known else None
        if expected is not None:
            wanted, wanted_digest = expected
            if wanted > highest:
                faults.append(f"rollback: the expected head is {wanted}, the chain ends at {highest}")
            elif known.get(wanted) != wanted_digest:
                faults.append(f"fork: record {wanted} is not that of the expected head")
        self.chain_faults = faults
        self.snapshots = [
            own
            for own in sorted(self.records)
            if own not in self.covered and self.records[own][0]["kind"] == "snapshot"
        ]

    # Section 12.1, step 5; `whole` reads every byte of every pack.
    def read_packs(self, whole):
        top = os.path.join(self.root, "packs")
        for shelf in list_directory(top, absent_is_empty=True):
            if not re.fullmatch("[0-9a-f]{2}", shelf):
                self.finding("foreign", f"packs/{shelf}")
                continue
            directory = os.path.join(top, shelf)
            try:
                names = list_directory(directory, absent_is_empty=True)
            except Refused as why:
                self.finding("pack", str(why))
                continue
            for file in names:
                if not PACK_NAME.fullmatch(file) or not file.startswith(shelf):
                    self.finding("foreign", f"packs/{shelf}/{file}")
                    continue
                self.read_pack(os.path.join(directory, file), file[:64], whole)

    def read_pack(self, path, name, whole):
        try:
            if whole:
                data = read_regular(path, PACK_BYTES_MAX)
                _, blocks, good, faults = verify_pack(data, name, self.key)
                for fault in faults:
                    self.finding("pack", f"{name}: {fault}")
                for fine in good:
                    self.good |= fine
                length = len(data)
            else:
                status = os.lstat(path)
                need(stat.S_ISREG(status.st_mode), "no regular file")
                length = status.st_size
                with open(path, "rb") as file:

                    def read(offset, size):
                        file.seek(offset)
                        return file.read(size)

                    _, blocks = decode_footer(read, length, self.key)
        except (Refused, OSError) as why:
            self.finding("pack", f"{name}: {why}")
            return
        pack = Pack(name, path, length, blocks)
        self.packs.append(pack)
        for block in blocks:
            for id, within, chunk_length in block.chunks:
                self.places.setdefault(id, []).append((pack, block, within, chunk_length))

    def fetch(self, id, length):
        """A chunk, proven. All places are tried."""
        why = "no pack holds it"
        for pack, block, within, chunk_length in self.places.get(id, ()):
            if chunk_length != length:
                why = "another length"
                continue
            try:
                data = self.plain(pack, block)[within : within + length]
                need(digest(data) == id, "another digest")
                return data
            except (Refused, OSError) as error:
                why = str(error)
        raise Refused(f"chunk {id}: {why}")

    def plain(self, pack, block):
        place = (pack.name, block.offset)
        if place in self.cache:
            self.cache.move_to_end(place)
            return self.cache[place]
        handle = os.open(pack.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            file.seek(block.offset)
            data = decode_block(file.read(block.stored), block)
        self.cache[place] = data
        while len(self.cache) > 16:
            self.cache.popitem(last=False)
        return data

    # Section 12.1, steps 6 and 7 without the content.
    def entries(self, own):
        """The entries of a snapshot in order, everything about the listing checked."""
        body = self.records[own][0]["body"]
        counts = {"bytes": 0, "directories": 0, "files": 0, "hardlinks": 0, "specials": 0, "symlinks": 0}
        before, objects = None, {}
        for outer in decode_parts(body["lists"], "a manifest"):
            inner = decode_segment_list(self.fetch(outer.id, outer.length))
            need(inner[0].first == outer.first, "a segment list begins elsewhere than its part says")
            need(sum(part.entries for part in inner) == outer.entries, "the entries of a segment list do not add up")
            for part in inner:
                segment = decode_segment(self.fetch(part.id, part.length))
                need(segment[0].path == part.first, "a segment begins elsewhere than its part says")
                need(len(segment) == part.entries, "a segment has another number of entries than its part says")
                for entry in segment:
                    if before is None:
                        need(entry.path == b"" and entry.kind == "directory", "the first entry is the source itself")
                    else:
                        need(may_follow(before, entry), f"{entry.path!r} may not follow {before.path!r}")
                    before = entry
                    for id, length, content in entry.lists:
                        chunks = decode_chunk_list(self.fetch(id, length))
                        need(sum(size for _, size in chunks) == content, "a chunk list does not add up")
                        entry.chunks += chunks
                    for id, length, content in entry.hole_lists:
                        holes = decode_hole_list(self.fetch(id, length))
                        need(sum(size for _, size in holes) == content, "a hole list does not add up")
                        entry.holes += holes
                    check_holes(entry.holes, entry.size)
                    plural = {"directory": "directories", "file": "files", "symlink": "symlinks"}
                    counts[plural.get(entry.kind, "specials")] += 1
                    counts["bytes"] += entry.size
                    if entry.hardlink is not None:
                        counts["hardlinks"] += 1
                        need(entry.hardlink in objects, f"{entry.path!r} is another name of what has none")
                        need(objects[entry.hardlink] == body_of(entry), f"{entry.path!r} differs from its first name")
                    elif entry.links is not None:
                        objects[entry.path] = body_of(entry)
                    yield entry
        for name, value in counts.items():
            need(u64(body["counts"].get(name, 0)) == value, f"the count of {name} is wrong")

    def check_pack_uses(self, own):
        packs = self.records[own][0]["body"]["packs"]
        if "direct" in packs:
            uses = [use[0] for use in packs["direct"]]
        else:
            uses = []
            try:
                for id, length in packs["listed"]:
                    uses += decode_pack_list(self.fetch(id, length))
                ascending(uses, "the packs of a manifest")
            except Refused as why:
                self.finding("information", f"the pack lists of snapshot {own}: {why}")
        here = {pack.name for pack in self.packs}
        for name in uses:
            if name not in here:
                self.finding("information", f"snapshot {own} names pack {name}, which is not here")

    def names(self):
        """What step 8 compares."""
        packs = {}
        top = os.path.join(self.root, "packs")
        for shelf in list_directory(top, absent_is_empty=True):
            if re.fullmatch("[0-9a-f]{2}", shelf):
                packs[shelf] = list_directory(os.path.join(top, shelf), absent_is_empty=True)
        return list_directory(os.path.join(self.root, "snapshots"), absent_is_empty=False), packs


def canonical_line(entry):
    """One entry of the canonical listing, by which snapshots are compared between programs."""
    mode = "" if entry.mode is None else f"{entry.mode:04o}"
    mtime = "" if entry.mtime is None else "%d.%09d" % entry.mtime
    size = str(entry.size) if entry.kind == "file" else ""
    chunks = ",".join(id for id, _ in entry.chunks)
    columns = [entry.path, entry.kind.encode(), size.encode(), mode.encode(), mtime.encode(), entry.target]
    holes = ",".join(f"{offset}+{length}" for offset, length in entry.holes)
    # Only where there are any, so that the digests of listings without them stay what they were.
    columns += [chunks.encode()] + ([holes.encode()] if holes else [])
    return b"\0".join(columns + rest_of(entry)) + b"\n"


def verify_snapshot(vault, own):
    result = {"number": own, "record": vault.records[own][1]}
    faults = []
    one, two = hashlib.sha256(), blake3()
    count, size, seen = 0, 0, set()
    try:
        vault.check_pack_uses(own)
        for entry in vault.entries(own):
            for reference in entry.chunks + entry.attribute_chunks:
                if reference not in seen:
                    seen.add(reference)
                    if reference not in vault.good:
                        faults.append(f"{os.fsdecode(entry.path)!r}: chunk {reference[0]} is missing or damaged")
            line = canonical_line(entry)
            one.update(line)
            two.update(line)
            count += 1
            size += entry.size
    except Refused as why:
        faults.append(str(why))
    result["faults"] = faults
    result["valid"] = not faults and not vault.chain_faults
    if not faults:
        result["entries"] = count
        result["bytes"] = size
        result["listing"] = {"blake3": two.hexdigest(), "sha256": one.hexdigest()}
    return result


def open_vault(root, key_file):
    return Vault(root, decode_key(read_regular(key_file, CONFIG_BYTES_MAX)))


def verify(root, key_file, expected=None):
    for _ in range(3):
        vault = open_vault(root, key_file)
        for name in list_directory(root, absent_is_empty=False):
            if name not in KNOWN_TOP and not re.fullmatch(r"\.probe-[0-9a-f]{32}", name):
                vault.finding("foreign", name)
        vault.read_records()
        vault.check_chain(expected)
        names = vault.names()
        vault.read_packs(whole=True)
        snapshots = [verify_snapshot(vault, own) for own in vault.snapshots]
        # Step 8: what a writer did meanwhile is no finding.
        if vault.names() == names:
            break
    faulty = [finding for finding in vault.findings if finding["kind"] == "pack"]
    if not snapshots:
        verdict = "nothing verified"
    elif vault.chain_faults or faulty or not all(snapshot["valid"] for snapshot in snapshots):
        verdict = "damaged"
    else:
        verdict = "valid"
    return {
        "chain": vault.chain_faults,
        "covered": sorted(vault.covered),
        "findings": vault.findings,
        "head": vault.head,
        "packs": len(vault.packs),
        "snapshots": snapshots,
        "vault": vault.key.vault.hex(),
        "verdict": verdict,
    }


def choose(vault, own):
    vault.read_records()
    vault.check_chain()
    need(not vault.chain_faults, f"the chain is broken: {vault.chain_faults}")
    need(own in vault.snapshots, f"there is no snapshot {own}")
    vault.read_packs(whole=False)


def extract(root, key_file, own, destination):
    """Section 12.1, the restore."""
    vault = open_vault(root, key_file)
    choose(vault, own)
    destination = os.fsencode(os.path.abspath(destination))
    if os.path.lexists(destination):
        need(stat.S_ISDIR(os.lstat(destination).st_mode), "the destination is no directory")
        need(not os.listdir(destination), "the destination is not empty")
    parent, _ = os.path.split(destination)
    work = os.path.join(parent, b".extract-" + secrets.token_hex(8).encode())
    os.mkdir(work, 0o700)
    directories, links, names = [], [], []

    def place(path):
        return os.path.join(work, path) if path else work

    for entry in vault.entries(own):
        here = place(entry.path)
        if entry.kind == "directory":
            if entry.path:
                os.mkdir(here, 0o700)
            directories.append(entry)
        elif entry.hardlink is not None:
            names.append(entry)
        elif entry.kind != "file":
            links.append(entry)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(here, flags, 0o600), "wb") as file:
                write_content(vault, entry, file)
                file.flush()
                set_attributes(vault, entry, file.fileno())
                if entry.mode is not None:
                    os.fchmod(file.fileno(), entry.mode & 0o1777)
                if entry.mtime is not None:
                    set_mtime(file.fileno(), entry.mtime)
    for entry in links:
        here = place(entry.path)
        if entry.kind == "symlink":
            os.symlink(entry.target, here)
        elif entry.kind in ("fifo", "socket"):
            os.mknod(here, 0o600 | {"fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK}[entry.kind])
            if entry.mode is not None:
                os.chmod(here, entry.mode & 0o1777)
        else:
            print(f"not restored: {here!r}, a {entry.kind}", file=sys.stderr)
            continue
        if entry.mtime is not None:
            set_mtime(here, entry.mtime, follow_symlinks=False)
    for entry in names:
        if os.path.lexists(place(entry.hardlink)):
            os.link(place(entry.hardlink), place(entry.path), follow_symlinks=False)
    for entry in reversed(directories):
        set_attributes(vault, entry, place(entry.path))
        if entry.mode is not None:
            os.chmod(place(entry.path), entry.mode & 0o1777)
        if entry.mtime is not None:
            set_mtime(place(entry.path), entry.mtime)
    os.rename(work, destination)


def write_content(vault, entry, file):
    """The chunks, one after another, around the holes."""
    os.ftruncate(file.fileno(), entry.size)
    holes, at, written = deque(entry.holes), 0, 0
    for id, length in entry.chunks:
        data = vault.fetch(id, length)
        while data:
            while holes and holes[0][0] == at:
                at += holes.popleft()[1]
            room = holes[0][0] - at if holes else len(data)
            file.seek(at)
            count = file.write(data[:room])
            data, at, written = data[count:], at + count, written + count
    need(written + sum(length for _, length in entry.holes) == entry.size, "a file of another size")


def set_attributes(vault, entry, target):
    """Attributes of the user; others take rights that this reader does not ask for."""
    for name, inline, chunks in entry.xattrs:
        if name.startswith(b"user.") and hasattr(os, "setxattr"):
            os.setxattr(target, name, inline + b"".join(vault.fetch(id, length) for id, length in chunks))


def set_mtime(target, mtime, **how):
    nanos = mtime[0] * 1000000000 + mtime[1]
    try:
        os.utime(target, ns=(nanos, nanos), **how)
    except (OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise


def listing(root, key_file, own):
    vault = open_vault(root, key_file)
    choose(vault, own)
    for entry in vault.entries(own):
        yield {
            "chunks": [id for id, _ in entry.chunks],
            "kind": entry.kind,
            "mode": entry.mode,
            "mtime": entry.mtime,
            "path": os.fsdecode(entry.path),
            "size": entry.size,
            "target": os.fsdecode(entry.target),
        }


def main(arguments):
    if len(arguments) in (3, 5) and arguments[0] == "verify":
        try:
            expected = parse_head(arguments[4]) if len(arguments) == 5 else None
            report = verify(arguments[1], arguments[2], expected)
        except Refused as why:
            report = {"verdict": "refused", "why": str(why)}
        print(json.dumps(report, indent=1, sort_keys=True))
        return 0 if report["verdict"] == "valid" else 1
    if len(arguments) == 5 and arguments[0] == "extract":
        try:
            extract(arguments[1], arguments[2], int(arguments[3]), arguments[4])
        except Refused as why:
            print(f"refused: {why}", file=sys.stderr)
            return 1
        return 0
    if len(arguments) == 2 and arguments[0] == "vectors":
        print(json.dumps(decode_vectors(arguments[1]), indent=1, sort_keys=True))
        return 0
    if len(arguments) == 4 and arguments[0] == "list":
        for line in listing(arguments[1], arguments[2], int(arguments[3])):
            print(json.dumps(line, sort_keys=True))
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Machine code as an image: the same function as LLVM's loader makes of the object file, and nothing it cannot know."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

import pytest

from pcaptool.decode.kernels.links import first_layer
from pcaptool.engine import image, machine
from pcaptool.engine.calls import caller

X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="images are made for x86-64")


@pytest.fixture(scope="module")
def compiled():
    from pcaptool.engine.compiled import compile_kernel

    return compile_kernel("pcaptool.decode.kernels.links", "first_layer", (1,))


@X86
@pytest.mark.slow
def test_an_image_does_what_the_object_file_does(compiled):
    linked = image.make(compiled.code, compiled.symbol)
    assert linked is not None
    assert linked.own  # a table of addresses
    assert image.unpack(image.pack(linked)) == linked
    loaded = image.load(linked)
    kept = compiled.symbol.encode() + b"\n" + compiled.code
    assert image.unpack(kept) is None
    of_image = caller(loaded.address, loaded.owner)
    of_object, of_kept = (
        caller(address, owner) for address, owner in map(machine._load, (kept, image.pack(linked)))
    )
    for linktype in (*range(300), 65_535):
        assert of_image([linktype]) == of_object([linktype]) == of_kept([linktype]) == first_layer(linktype)


@X86
@pytest.mark.slow
def test_what_is_left_to_llvm(compiled):
    code, symbol = compiled.code, compiled.symbol
    sections, count = struct.unpack_from("<Q", code, 40)[0], struct.unpack_from("<H", code, 60)[0]
    headers = [struct.unpack_from("<IIQQQQII", code, sections + 64 * k) for k in range(count)]
    at_code = max(
        range(count), key=lambda k: headers[k][5] * (headers[k][2] & 4)
    )  # the largest executable section
    first = next(header[4] for header in headers if header[1] == 4 and header[7] == at_code)

    def changed(at, value):
        return code[:at] + value + code[at + len(value) :]

    other_processor = changed(18, struct.pack("<H", 183))
    writable = changed(sections + 64 * at_code + 8, struct.pack("<Q", headers[at_code][2] | 1))
    other_place = changed(first + 8, struct.pack("<I", 2))
    assert image.make(code, symbol) is not None
    for left in (b"", b"\x7fELF", code[:63], other_processor, writable, other_place):
        assert image.make(left, symbol) is None
    assert image.make(code, "no such function") is None


@X86
def test_a_function_of_the_c_library_is_found_by_its_name():
    jump = b"\x48\xb8" + bytes(8) + b"\xff\xe0"  # mov rax, address; jmp rax
    loaded = image.load(image.Image(jump, 0, [], [(2, "getpid")]))
    assert ctypes.CFUNCTYPE(ctypes.c_int)(loaded.address)() == os.getpid()

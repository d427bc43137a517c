"""The process's pool of threads that compute, which all models share: onnxruntime's global pool, without spinning.

onnxruntime's Python module has `set_global_thread_pool_sizes`, but nothing that tells that pool not to spin: each of
its threads burns a core for up to 50 ms after every run that it had a part in. The C API has (`SetGlobalSpinControl`),
for an environment that is yet to be made. There is one environment per process and copy of the library; the module
takes the one that is there while it is imported, or makes it. So `make_pool` loads the module's library without
running the module, and makes the environment first. Sessions may then choose between the pool and their own threads.

The module's library hides `OrtGetApiBase`, the way to the C API (libonnxruntime.so beside it shows it, but is another
copy, whose environment is another one). But it hands it to execution providers, as the first method of the class
`onnxruntime::ProviderHostImpl`, and the names of such classes are kept. In the Itanium C++ ABI, which Linux uses:

    name        "N11onnxruntime16ProviderHostImplE", among the constants
    type        the address of the methods of types, the address of name, …
    methods     …, the address of type, the first method, the second, …

Type and methods are in that part of the data which is protected once the loader has filled in the addresses
(GNU_RELRO). What is found is called only where each step has exactly one answer, within the library, in a version of
the range that this was tried with.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import logging
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_uint32, c_void_p
from pathlib import Path
from typing import Any, Final

logger = logging.getLogger("sluice.models")

#: tried with 1.23, 1.27 and 1.32; the first version that may be used like this, and the first that may not
VERIFIED: Final = (1, 23), (1, 33)

_PACKAGE: Final = "onnxruntime"
_MODULE: Final = "onnxruntime_pybind11_state"
_HOST: Final = b"\0N11onnxruntime16ProviderHostImplE\0"

#: onnxruntime_c_api.h: ORT_API_VERSION that knows all of these functions, and their places in the struct OrtApi,
#: to which versions only append
_API_VERSION: Final = 5
_GET_ERROR_MESSAGE: Final = 2
_RELEASE_STATUS: Final = 93
_CREATE_ENV_WITH_GLOBAL_THREAD_POOLS: Final = 119
_CREATE_THREADING_OPTIONS: Final = 121
_RELEASE_THREADING_OPTIONS: Final = 122
_SET_GLOBAL_INTRA_OP_NUM_THREADS: Final = 147
_SET_GLOBAL_INTER_OP_NUM_THREADS: Final = 148
_SET_GLOBAL_SPIN_CONTROL: Final = 149
_FATAL: Final = 4

_LOAD: Final = 1
_RELRO: Final = 0x6474E552
_WORD: Final = ctypes.sizeof(c_void_p)


class _Unfit(Exception):
    """This onnxruntime is not one that `make_pool` knows its way about."""


def make_pool(threads: int) -> bool:
    """Makes the pool, of the caller's thread and `threads` - 1 others, before onnxruntime is imported.

    False, with the reason in the log: this onnxruntime does not let itself be told, nothing has changed.
    """
    try:
        _check_version()
        _make_environment(_Api(_library()), threads)
    except (_Unfit, ImportError, OSError, ValueError, AttributeError, struct.error) as error:
        logger.warning("the threads of onnxruntime's pool will spin after each run: %s", error)
        return False
    return True


def _check_version() -> None:
    first, end = VERIFIED
    if not sys.platform.startswith("linux") or _WORD != 8 or sys.byteorder != "little":
        raise _Unfit(f"its library is known on 64-bit Linux only, not on {sysconfig.get_platform()}")
    if _PACKAGE in sys.modules:
        raise _Unfit("it was imported before its pool was made")
    version = importlib.metadata.version(_PACKAGE)
    if not first <= tuple(map(int, version.split(".")[:2])) < end:
        raise _Unfit(f"it is {version}, known are {first[0]}.{first[1]} to below {end[0]}.{end[1]}")


def _library() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        return Path(folder) / "capi" / f"{_MODULE}{sysconfig.get_config_var('EXT_SUFFIX')}"
    raise _Unfit("its package is not found")


def _make_environment(api: _Api, threads: int) -> None:
    environment = c_void_p()
    with api.threading_options() as options:
        api.call(_SET_GLOBAL_INTRA_OP_NUM_THREADS, options, c_int(threads))
        api.call(_SET_GLOBAL_INTER_OP_NUM_THREADS, options, c_int(1))
        api.call(_SET_GLOBAL_SPIN_CONTROL, options, c_int(0))
        # It is never released, as the module never releases the one that it makes.
        api.call(_CREATE_ENV_WITH_GLOBAL_THREAD_POOLS, c_int(_FATAL), c_char_p(b"Default"), options, byref(environment))


class _Api:
    """The struct OrtApi of the library at `path`."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        base = _origin(ctypes.cast(library[f"PyInit_{_MODULE}"], c_void_p).value)
        get_base = _first_method(path, base)  # it has no use for its object
        api_base = ctypes.CFUNCTYPE(c_void_p, c_void_p)(get_base)(None)
        if api_base is None or _origin(api_base) != base:
            raise _Unfit("its C API is not where it was")
        functions = ctypes.cast(api_base, POINTER(_ApiBase)).contents
        if functions.version().decode() != importlib.metadata.version(_PACKAGE):
            raise _Unfit("its library is of another version than its package")
        table = functions.api(_API_VERSION)
        if not table:
            raise _Unfit(f"it has no C API of the version {_API_VERSION}")
        self._functions = ctypes.cast(table, POINTER(c_void_p))

    def call(self, place: int, *arguments: Any) -> None:
        status = self._function(place, c_void_p)(*arguments)
        if status:
            message = self._function(_GET_ERROR_MESSAGE, c_char_p)(c_void_p(status))
            self._function(_RELEASE_STATUS, None)(c_void_p(status))
            raise _Unfit(message.decode(errors="replace"))

    @contextmanager
    def threading_options(self) -> Iterator[c_void_p]:
        options = c_void_p()
        self.call(_CREATE_THREADING_OPTIONS, byref(options))
        try:
            yield options
        finally:
            self._function(_RELEASE_THREADING_OPTIONS, None)(options)

    def _function(self, place: int, result: Any) -> Callable[..., Any]:
        # without declared arguments: each caller passes instances of ctypes' own types
        return ctypes.CFUNCTYPE(result)(self._functions[place] or 0)


def _first_method(path: Path, base: int) -> int:
    """The address of the first method of ProviderHostImpl in the library that is loaded at `base`."""
    image = path.read_bytes()
    loads, (start, size) = _segments(image)
    name = _only(image, _HOST) + 1
    shifts = [address - offset for offset, address, length in loads if offset <= name < offset + length]
    if len(shifts) != 1:
        raise _Unfit("its constants are not loaded")
    words = ctypes.string_at(base + start, size)

    def position(value: int) -> int:
        found = _only(words, struct.pack("<Q", value))
        if (start + found) % _WORD:
            raise _Unfit("its classes are not where they were")
        return found

    kind = position(base + name + shifts[0]) - _WORD
    first = position(base + start + kind) + _WORD
    if kind < 0 or first + _WORD > size:
        raise _Unfit("its classes are not where they were")
    (method,) = struct.unpack_from("<Q", words, first)
    if _origin(method) != base:
        raise _Unfit("the method that gives its C API is not its own")
    return int(method)


def _segments(image: bytes) -> tuple[list[tuple[int, int, int]], tuple[int, int]]:
    """Of an ELF file: (offset in the file, address, bytes) of what is loaded, (address, bytes) of what is protected."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise _Unfit("its library is not a 64-bit ELF file")
    table, each, count = struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54)
    loads, protected = [], (0, 0)
    for at in range(table, table + each * count, each):
        kind, _, offset, address, _, stored, size, _ = struct.unpack_from("<IIQQQQQQ", image, at)
        if kind == _LOAD:
            loads.append((offset, address, stored))
        elif kind == _RELRO:
            protected = address, size
    return loads, protected


def _only(data: bytes, sought: bytes) -> int:
    at = data.find(sought)
    if at < 0 or data.find(sought, at + 1) >= 0:
        raise _Unfit("the class that gives its C API is not there once")
    return at


class _ApiBase(ctypes.Structure):
    """OrtApiBase of onnxruntime_c_api.h"""

    _fields_ = (("api", ctypes.CFUNCTYPE(c_void_p, c_uint32)), ("version", ctypes.CFUNCTYPE(c_char_p)))


class _Info(ctypes.Structure):
    """Dl_info of dlfcn.h"""

    _fields_ = (("file", c_char_p), ("base", c_void_p), ("symbol", c_char_p), ("address", c_void_p))


def _origin(address: int | None) -> int:
    """Where the library is loaded that has something at `address`; 0: none has."""
    info = _Info()
    found = ctypes.CDLL(None).dladdr(c_void_p(address), byref(info))
    return (info.base or 0) if found else 0

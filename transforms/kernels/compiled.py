"""Compiling kernels with numba, and keeping what was compiled on disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba as nb
from llvmlite import ir
from numba import _dynfunc
from numba.core import entrypoints, event
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.extending import intrinsic

_ROOM = Path(__file__).parent.name


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, or load what another process compiled.

    Without the interpreter's lock, and with IEEE 754's rounding: results must not depend on how a
    compiler reorders sums. numba keys what it stores by processor, version and types of arguments,
    and writes files under other names first, so that processes don't see each other's halves.
    """
    return _cached(nb.njit(nogil=True)(function), function)


def unowning(function: Callable[..., Any]) -> Any:
    """Compile a kernel that makes no arrays, without counting who holds those that it is given.

    numba counts, atomically, at every call between kernels and for every array of a tuple: a small one
    takes longer to be called than to run.
    """
    return _cached(nb.njit(nogil=True, _nrt=False)(function), function)


def part(function: Callable[..., Any]) -> Any:
    """Compile a function as a part of the kernels that call it: Python can't.

    numba makes machine code of each function, with all that it calls, and keeps it: of five functions
    that call each other the last one is optimized five times. A part is optimized once, in the kernel.
    """
    return _refusing_python(nb.njit(nogil=True, pipeline_class=_PartCompiler)(function))


def unowning_part(function: Callable[..., Any]) -> Any:
    """Compile a part that makes no arrays. See ``unowning``."""
    compiled = nb.njit(nogil=True, _nrt=False, pipeline_class=_PartCompiler)
    return _refusing_python(compiled(function))


def loop(function: Callable[..., Any]) -> Any:
    """Compile a part in which time goes: optimized by itself, then again in the kernel.

    The second time alone left ``nbest`` a seventh slower.
    """
    return _refusing_python(nb.njit(nogil=True, pipeline_class=_LoopCompiler)(function))


def inlined_loop(function: Callable[..., Any]) -> Any:
    """Compile a loop into whoever calls it, optimized by itself before."""
    compiled = nb.njit(nogil=True, forceinline=True, pipeline_class=_LoopCompiler)(function)
    return _refusing_python(compiled)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a small function, which makes no arrays, into whoever calls it: a ``part`` to which no
    call is left. See ``unowning``.
    """
    compiled = nb.njit(nogil=True, forceinline=True, _nrt=False, pipeline_class=_PartCompiler)
    return _refusing_python(compiled(function))


def _refusing_python(compiled: Any) -> Any:
    """Let a dispatcher raise where it is called from Python, which would end the process."""

    def refuse(*_: Any, **__: Any) -> None:
        raise TypeError(f"{compiled.py_func.__name__} is a part of kernels; Python can't call it")

    compiled._insert, compiled._compile_for_args = (lambda *_: None), refuse
    return compiled


def _cached(compiled: Any, function: Callable[..., Any]) -> Any:
    with contextlib.suppress(RuntimeError):  # nowhere to keep it: each process compiles for itself
        compiled._cache = _Cache(function)
    compiled._compile_for_args = _without_extensions(compiled._compile_for_args)
    return compiled


def _without_extensions(compile_for_args: Callable[..., Any]) -> Callable[..., Any]:
    """Keep numba from importing packages that extend it (awkward: 0.2 s), which no kernel of ours needs.

    What is compiled for somebody else in this process finds them as always.
    """

    def compile_ours(*args: Any, **more: Any) -> Any:
        with global_compiler_lock:
            before = entrypoints._already_initialized
            entrypoints._already_initialized = True
            try:
                return compile_for_args(*args, **more)
            finally:
                entrypoints._already_initialized = before

    return compile_ours


@contextlib.contextmanager
def told_of_compiling(tell: Callable[[], object]) -> Iterator[None]:
    """Call ``tell`` as soon as something has to be compiled, once; not where all was kept on disk."""
    with event.install_listener("numba:compile", _First(tell)):
        yield


class _First(event.Listener):  # type: ignore[misc]
    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell: Callable[[], object] | None = tell

    def on_start(self, _: Any) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def on_end(self, _: Any) -> None:
        """Nothing is to be said of it."""


@intrinsic
def load_word(typing: Any, array: Any, index: Any) -> Any:
    """Return the 8 bytes of a uint8 array from ``index`` on as a little-endian uint64, aligned or not.

    All of them have to lie inside. numba itself reads a byte array byte by byte.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(held.data, [args[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return nb.types.uint64(array, index), generate


@intrinsic
def store_word(typing: Any, array: Any, index: Any, word: Any) -> Any:
    """Write a uint64 as 8 bytes, little-endian, to a uint8 array from ``index`` on, aligned or not.

    All of them have to lie inside.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(held.data, [args[1]])
        builder.store(args[2], builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return nb.types.none(array, index, word), generate


@intrinsic
def copy_block(typing: Any, out: Any, to: Any, array: Any, index: Any) -> Any:
    """Copy the 64 bytes of a uint8 array from ``index`` on into another one, from ``to`` on.

    All of them have to lie inside.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(8), 64).as_pointer()
        places = []
        for number in (0, 2):
            held = context.make_array(signature.args[number])(context, builder, args[number])
            place = builder.gep(held.data, [args[number + 1]])
            places.append(builder.bitcast(place, lanes))
        builder.store(builder.load(places[1], align=1), places[0], align=1)
        return context.get_dummy_value()

    return nb.types.none(out, nb.types.int64, array, nb.types.int64), generate


@intrinsic
def first_bit(typing: Any, word: Any) -> Any:
    """Return the place of the lowest bit that is set in a uint64, as an int64; 64 where none is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return nb.types.int64(word), generate


@intrinsic
def equal_bytes(typing: Any, array: Any, index: Any, byte: Any) -> Any:
    """Compare the 64 bytes of a uint8 array from ``index`` on with a uint8; return a bit for each, set
    where it is that.

    All of them have to lie inside; the lowest bit is the first byte's.
    """
    return nb.types.uint64(array, index, nb.types.uint8), _comparing("==")


@intrinsic
def least_bytes(typing: Any, array: Any, index: Any, least: Any) -> Any:
    """As ``equal_bytes``, set where a byte is that or more."""
    return nb.types.uint64(array, index, nb.types.uint8), _comparing(">=")


def _comparing(how: str) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, args[0])
        lanes = ir.VectorType(ir.IntType(8), 64)
        place = builder.bitcast(builder.gep(held.data, [args[1]]), lanes.as_pointer())
        one = ir.Constant(ir.VectorType(ir.IntType(8), 1), [ir.Undefined])
        one = builder.insert_element(one, args[2], ir.IntType(32)(0))
        none = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        every = builder.shuffle_vector(one, one, none)
        found = builder.icmp_unsigned(how, builder.load(place, align=1), every)
        return builder.bitcast(found, ir.IntType(64))

    return generate


@intrinsic
def copy_bytes(typing: Any, array: Any, index: Any, address: Any, size: Any) -> Any:
    """Copy so many bytes from an address, a uint64, into a uint8 array from ``index`` on.

    Nothing is checked: they have to be there, and to fit.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, args[0])
        byte = ir.IntType(8).as_pointer()
        called = builder.module.declare_intrinsic("llvm.memcpy", [byte, byte, ir.IntType(64)])
        source = builder.inttoptr(args[2], byte)
        never = ir.IntType(1)(0)  # volatile
        builder.call(called, [builder.gep(held.data, [args[1]]), source, args[3], never])
        return context.get_dummy_value()

    return nb.types.none(array, nb.types.int64, nb.types.uint64, nb.types.int64), generate


@intrinsic
def fetch_address(typing: Any, address: Any) -> Any:
    """Ask the processor for what lies at an address, a uint64; as ``fetch`` of an array's item."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _prefetch(builder, builder.inttoptr(args[0], ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return nb.types.none(nb.types.uint64), generate


@intrinsic
def fetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask the processor for an array's item, which is needed soon. Changes nothing but the time.

    numba has no such function; LLVM has, and leaves it out where the processor has none.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        held = context.make_array(signature.args[0])(context, builder, args[0])
        item = builder.bitcast(builder.gep(held.data, [args[1]]), ir.IntType(8).as_pointer())
        _prefetch(builder, item)
        return context.get_dummy_value()

    return nb.types.none(array, index), generate


def _prefetch(builder: Any, place: Any) -> None:
    word = ir.IntType(32)
    called = builder.module.declare_intrinsic(
        "llvm.prefetch",
        [place.type],
        ir.FunctionType(ir.VoidType(), [place.type, word, word, word]),
    )
    builder.call(called, [place, word(0), word(3), word(1)])  # to read; keep it close; data


class _PartLibrary(JITCodeLibrary):  # type: ignore[misc]
    """LLVM's code of a part, to be linked into a kernel's as it is."""

    def _optimize_final_module(self) -> None:
        """Leave it to the kernel."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _LoopLibrary(_PartLibrary):
    """The same of a loop."""

    def _optimize_final_module(self) -> None:
        JITCodeLibrary._optimize_final_module(self)


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(NativeLowering):  # type: ignore[misc]
    """Make LLVM's code of a part, and no machine code."""

    _name = "part_lowering"
    library = _PartLibrary

    def run_pass(self, state: Any) -> bool:
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        flags = state.flags
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        super().run_pass(state)
        made = state["cr"]
        name = state.func_id.func_name
        # numba's dispatchers know functions by such an object; there is nothing behind this one
        entry = _dynfunc.make_function(
            made.fndesc.lookup_module(), name, "a part of kernels", 0, made.env, (state.library,)
        )
        state.targetctx.insert_user_function(entry, made.fndesc, [state.library])
        state["cr"] = made._replace(cfunc=entry)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _LoopLowering(_PartLowering):
    _name = "loop_lowering"
    library = _LoopLibrary


class _PartCompiler(CompilerBase):  # type: ignore[misc]
    lowering: type[_PartLowering] = _PartLowering

    def define_pipelines(self) -> list[Any]:
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager.passes = [
            (self.lowering if step is NativeLowering else step, about)
            for step, about in manager.passes
        ]
        manager.finalize()
        return [manager]


class _LoopCompiler(_PartCompiler):
    lowering = _LoopLowering


class _Cache(FunctionCache):  # type: ignore[misc]
    """A cache whose entries end when any source changes that a kernel may be made of.

    numba looks at the function's own file alone, but compiles functions and constants of other files
    into it. What the sources were is part of the files' names: an index that was written of other
    sources may name types that are no more, and can't be read.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}.{_stamp(function)[:12]}",
            source_stamp=_stamp(function),
        )


def _stamp(function: Callable[..., Any]) -> str:
    return stamp(Path(function.__code__.co_filename).parent)


@functools.cache
def stamp(room: Path) -> str:
    """Return a hash of a room's modules and of those above it, up to all kernels' own: a kernel imports
    no others.
    """
    hasher = hashlib.blake2b(digest_size=16)
    above = [room, *room.parents]
    for folder in above[: [folder.name for folder in above].index(_ROOM) + 1]:
        for path in sorted(folder.glob("*.py")):
            source = path.read_text(encoding="utf-8")
            hasher.update(f"{path.stem} {len(source)} {source}".encode())
    return hasher.hexdigest()

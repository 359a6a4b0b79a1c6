"""Code that goes on whatever it is asked."""

from __future__ import annotations

_KEPT: list[object] = []


def keep_for_ever(running: object) -> None:
    """Keeps a generator or coroutine from being freed.

    Python closes it when it frees it. One that catches everything and goes on would be asked once more to end; at the
    end of the process, when half of what it uses is gone, it may never come to its next wait. So it stays, some
    kilobytes each time, until the process is gone: the interpreter frees its own lists when it ends, but not what
    something outside of it seems to hold.
    """
    _KEPT.append(running)
    try:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(running))
    except (ImportError, AttributeError):
        return  # An interpreter without them; the list keeps it until the end.

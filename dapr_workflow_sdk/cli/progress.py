"""Progress bars on standard error, where they do not get into what is piped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from dapr_workflow_sdk.cli.session import Session


@contextlib.contextmanager
def progress(session: Session, title: str, total: int | None) -> Generator[Callable[[int], None], None, None]:
    """A bar while the context is open, if a person looks; the function it gives takes how much is done.

    Args:
        session: The session.
        title: What goes on.
        total: How much there is to do; None if nobody knows.
    """
    if not session.err.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=session.err, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=done)

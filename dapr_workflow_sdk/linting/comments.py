"""``# workflow: allow[rule]``: findings that an author accepts."""

from __future__ import annotations

import ast
import io
import re
import tokenize

from dapr_workflow_sdk.linting.scopes import FunctionNode

_ALLOW = re.compile(r"#\s*workflow:\s*allow\[([^\]]*)\]")


class Allowances:
    """What the comments of one file accept.

    A comment accepts findings on its own line, on the line after it if it stands alone, and in a whole function if
    it stands on the line of its ``def``.
    """

    def __init__(self, text: str) -> None:
        """Reads the comments; a text without any costs nothing."""
        self._lines: dict[int, frozenset[str]] = {}
        if "workflow:" not in text or _ALLOW.search(text) is None:
            return
        try:
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.COMMENT:
                    self._add(token)
        except (tokenize.TokenError, SyntaxError):
            return  # What could be read counts.

    def _add(self, token: tokenize.TokenInfo) -> None:
        found = _ALLOW.search(token.string)
        if found is None:
            return
        rules = frozenset(part.strip() for part in found[1].split(","))
        line = token.start[0]
        alone = not token.line[: token.start[1]].strip()
        for accepted in (line, line + 1) if alone else (line,):
            self._lines[accepted] = self._lines.get(accepted, frozenset()) | rules

    def accept(self, rule_id: str, node: ast.AST, function: FunctionNode | None) -> bool:
        """Whether a finding of a rule at a node inside of a function is accepted."""
        if not self._lines:
            return False
        first = getattr(node, "lineno", 0)
        lines = range(first, (getattr(node, "end_lineno", None) or first) + 1)
        if any(rule_id in self._lines.get(line, ()) for line in lines):
            return True
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            heading = range(function.lineno, max(function.lineno, function.body[0].lineno - 1) + 1)
            return any(rule_id in self._lines.get(line, ()) for line in heading)
        return False

"""What a benchmark found, kept in a file that is written whenever something is added: begun again, it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reproductions import records


class Record:
    """The content of a file, with the machine and the versions with which it was last written.

    Args:
        path: the file; what is on record there is kept.
        content: what is read from it.
    """

    def __init__(self, path: Path, content: dict[str, Any]):
        self.path = path
        self.content = content

    def write(self) -> None:
        """Write the file."""
        from dreamer.report.results import versions

        self.content["machine"], self.content["versions"] = records.machine(), versions()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        records.write(self.path, self.content)

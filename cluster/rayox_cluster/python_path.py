"""Ray hands the path of its interpreter to a shell as it stands: one with a space needs another to the same."""

import sys
from pathlib import Path


def python_without_spaces(folder: Path) -> str:
    """This interpreter's path, or one through a link in the folder."""
    if " " not in sys.executable:
        return sys.executable
    home = folder / "python"
    if not home.is_symlink():
        home.symlink_to(Path(sys.executable).parent.parent)
    return str(home / "bin" / Path(sys.executable).name)

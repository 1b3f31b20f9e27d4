"""Names of methods and metrics where another tool allows only some characters."""

from __future__ import annotations

import re
from collections.abc import Iterable


def field_names(names: Iterable[str], reserved: Iterable[str] = ()) -> dict[str, str]:
    """Give every name a different one of letters, digits and underscores.

    Args:
        names: The names.
        reserved: Names that the tool keeps for itself.

    Returns:
        The new name of each name; `++` becomes `pp`, and a number is added to repeated names.

    Example:
        >>> field_names(["gradcam++", "deletion(steps=28)", "deletion(steps.28)"])
        {'gradcam++': 'gradcampp', 'deletion(steps=28)': 'deletion_steps_28', \
'deletion(steps.28)': 'deletion_steps_28_2'}
    """
    found: dict[str, str] = {}
    taken = set(reserved)
    for name in dict.fromkeys(names):
        plain = re.sub(r"[^0-9A-Za-z]+", "_", name.replace("++", "pp")).strip("_") or "unnamed"
        if plain[0].isdigit():
            plain = f"n{plain}"
        number, chosen = 1, plain
        while chosen in taken:
            number += 1
            chosen = f"{plain}_{number}"
        taken.add(chosen)
        found[name] = chosen
    return found

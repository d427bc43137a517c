"""What may be done to models: the words that settings, keys and every port share."""

from __future__ import annotations

from typing import Final, Literal, get_args

#: infer   score rows
#: read    see that a model is there: metadata, configuration, statistics, index
#: load    load and unload it
#: split   set its traffic split and its labels
#: admin   all of these; with all models also what concerns the server: keys, audit trail, log and trace settings
Action = Literal["infer", "read", "load", "split", "admin"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

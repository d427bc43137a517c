"""Entries that a consumer has and has not acknowledged, and the one script that settles them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

logger = logging.getLogger("sluice.streams")

#: KEYS: the stream that was read, that of results, that of dead letters. ARGV: group, consumer; then for each entry its
#: id, the key that gets what follows (0: nothing; -1: the entry is only kept) and how many arguments of XADD follow.
#: An entry that another consumer has by now is left to it, with what would have been written, and returned. Nothing
#: fails half-way: types and (since Redis 7) rights are looked at first, and for any other reason a server refuses a
#: script's first write or none of them.
_SETTLE: Final = """
if redis.acl_check_cmd and ARGV[1] ~= '' and not redis.acl_check_cmd('XACK', KEYS[1], ARGV[1], '0-0') then
  return redis.error_reply("NOPERM this user may not run 'xack' on " .. KEYS[1])
end
for i = 2, 3 do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= 'stream' then return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind) end
end
local lost, at = {}, 3
while at <= #ARGV do
  local id, key, more = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if id == '' or #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) > 0 then
    if key > 0 then redis.call('XADD', KEYS[key], unpack(ARGV, at + 3, at + 2 + more)) end
    if key < 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
    elseif id ~= '' then redis.call('XACK', KEYS[1], ARGV[1], id) end
  else
    lost[#lost + 1] = id
  end
  at = at + 3 + more
end
return lost
"""
#: which of the script's keys gets what follows
KEEP: Final = -1
DONE: Final = 0
RESULT: Final = 2
LETTER: Final = 3


class Held:
    """The position of a token: the entries that a consumer has. Whoever settles them says so."""

    def __init__(self, place: str, stream: str, group: str, consumer: str, ids: Iterable[str]) -> None:
        self.place, self.stream, self.group, self.consumer = place, stream, group, consumer
        self.ids: Final = dict.fromkeys(ids)
        self.settled = False

    def __str__(self) -> str:
        return "..".join({next(iter(self.ids), ""): None, next(reversed(self.ids), ""): None})

    async def settle(self, client: Any, words: Sequence[Any], results: str = "", letters: str = "") -> None:
        """words: those of _SETTLE. Of keys that are not used, ACLs and clusters hear nothing."""
        keys = [self.stream, results or self.stream, letters or self.stream]
        lost = await client.register_script(_SETTLE)(keys, [self.group, self.consumer, *words])
        if lost:
            logger.warning("%d entries of stream '%s' were taken over by another consumer", len(lost), self.stream)

-- Make counters from the ledger, or raise those that are below it: after the server's memory was lost or set back.
--
-- ARGV[1] as of when the ledger was asked (us, by this server's clock)
-- ARGV[2] msgpack list of {budget, {{slot, spent}, ...}}: what the ledger holds of each slot that counts
-- A counter is never lowered: what is on its way into the ledger is in it already.
-- Reply: how many were made or raised

local as_of = ARGV[1]
local changed = 0
for _, item in ipairs(cmsgpack.unpack(ARGV[2])) do
  local b, known = item[1], item[2]
  local id, slots = b[1], b[4]
  local newest = tonumber(redis.call('HGET', books, 'w|' .. id))
  local touched = false
  if not newest or newest < b[2] then
    redis.call('HSET', books, 'w|' .. id, whole(b[2]))
    touched = not newest
  end
  if slots > 1 then roll(b, b[2]) end
  for _, pair in ipairs(known) do
    local one = {id, pair[1], -1, slots, b[5]}
    local spent = tonumber(redis.call('HGET', books, spent_field(one)) or '0')
    if pair[2] > spent then
      add(books, spent_field(one), pair[2] - spent)
      if slots > 1 then add(books, 't|' .. id, pair[2] - spent) end
      touched = true
    end
  end
  if touched then
    redis.call('HSET', books, 'z|' .. id, as_of)
    changed = changed + 1
  end
end
return changed

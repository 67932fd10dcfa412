-- Make counters from the ledger, or raise those that are below it: after the server's memory was lost or set back.
--
-- ARGV[1] msgpack list of {budget, {{slot, spent}, ...}}: what the ledger holds of each slot that counts
-- ARGV[2] how long the ledger is not believed after a charge was brought down (us)
-- A counter is never lowered: what is on its way into the ledger is in it already.
-- Reply: how many were made or raised

local changed = 0
for _, item in ipairs(cmsgpack.unpack(ARGV[1])) do
  local b, known = item[1], item[2]
  local id, slots = b[1], b[4]
  local newest = tonumber(redis.call('HGET', books, 'w|' .. id))
  local touched = false
  if not newest then
    redis.call('HSET', books, 'w|' .. id, whole(b[2]))
    touched = true
  elseif newest < b[2] then
    advance(b, newest)
  end
  if slots > 1 then roll(b, b[2]) end
  -- While the ledger was asked a later slot may have begun: what no longer counts is left alone.
  local oldest = tonumber(redis.call('HGET', books, (slots > 1 and 'e|' or 'w|') .. id))
  local doubted = tonumber(redis.call('HGET', books, 'q|' .. id) or '0')
  for _, pair in ipairs(known) do
    local one = {id, pair[1], -1, slots, b[5]}
    local spent = tonumber(redis.call('HGET', books, spent_field(one)) or '0')
    if pair[2] > spent and pair[1] >= oldest and now_us - doubted > tonumber(ARGV[2]) then
      add(books, spent_field(one), pair[2] - spent)
      if slots > 1 then add(books, 't|' .. id, pair[2] - spent) end
      touched = true
    end
  end
  if touched then
    redis.call('HSET', books, 'z|' .. id, whole(now_us))
    changed = changed + 1
  end
end
return changed

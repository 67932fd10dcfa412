-- Settle attempts: their holds end, what they cost is spent, their records go on to the ledger. Never refuses.
--
-- ARGV[1] worker, ARGV[2] number of its batch. A batch is sent until it is answered, always under the same number, so one
-- that was applied and whose answer was lost is recognised.
-- ARGV[3] msgpack list of {hold, amount, cost, budgets, busy, refunds, booked_us}
--   cost is added even past a limit: a debt shows, and the next attempt sees it
--   refunds: {id, us} of rates, where an attempt took less than was expected (or more: negative)
--   booked_us: when the ledger has taken its record already (0: not yet)
-- ARGV[4] msgpack list of ids of stream entries that the ledger has taken
-- ARGV[5...] the record of each, or '' when there is none to book
-- Reply: msgpack {now_us, ids}, '' for a record that did not enter the stream; {now_us} for a batch that is known

local taken = cmsgpack.unpack(ARGV[4])
if #taken > 0 then redis.call('XDEL', stream, unpack(taken)) end

local last = tonumber(redis.call('HGET', senders, ARGV[1]) or '0')
if tonumber(ARGV[2]) <= last then return cmsgpack.pack({now_us}) end
redis.call('HSET', senders, ARGV[1], ARGV[2])

local function settle(entry, record)
  local hold, amount, cost, budgets, busy = entry[1], entry[2], entry[3], entry[4], entry[5]
  local booked_us = entry[7]
  local owed = cost
  if redis.call('HDEL', holds, hold) == 1 then
    redis.call('ZREM', leases, hold)
    for _, b in ipairs(budgets) do give_back(b, amount) end
    leave(busy)
    for _, refund in ipairs(entry[6]) do redis.call('HINCRBY', rates, 'a|' .. refund[1], whole(-refund[2])) end
  else
    -- Given up before: its hold was charged, so only the difference is owed. Or lost with the server's memory.
    local mark = redis.call('HGET', swept, hold)
    if mark then
      owed = cost - tonumber(string.match(mark, '^%d+'))
      redis.call('HDEL', swept, hold)
    end
  end
  for _, b in ipairs(budgets) do
    local seeded = booked_us > 0 and tonumber(redis.call('HGET', books, 'z|' .. b[1]) or '0') or 0
    -- A counter that was made from the ledger after it had this record holds its cost already.
    if seeded == 0 or booked_us > seeded then charge(b, owed) end
  end
  if record == '' or booked_us > 0 then return '' end
  return redis.call('XADD', stream, '*', 'r', record)
end

local ids = {}
for index, entry in ipairs(cmsgpack.unpack(ARGV[3])) do ids[index] = settle(entry, ARGV[4 + index]) end
return cmsgpack.pack({now_us, ids})

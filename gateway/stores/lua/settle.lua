-- Settle attempts: their holds end, what they cost is spent, their records go on to the ledger. Never refuses.
--
-- ARGV[1] worker, ARGV[2] number of its batch. A batch is sent until it is answered, always under the same number, so one
-- that was applied and whose answer was lost is recognised.
-- ARGV[3] msgpack list of {hold, amount, cost, budgets, busy, refunds, handed_us}
--   cost is added even past a limit: a debt shows, and the next attempt sees it
--   refunds: {id, us} of rates, where an attempt took less than was expected (or more: negative)
--   handed_us: since when the ledger may have its record (0: it has not been given it)
-- ARGV[4] msgpack list of ids of stream entries that the ledger has taken
-- ARGV[5...] the record of each, or '' when there is none to book, or the ledger has it
-- Reply: msgpack {now_us, ids}, '' for a record that did not enter the stream; {now_us} for a batch that is known

local taken = cmsgpack.unpack(ARGV[4])
if #taken > 0 then redis.call('XDEL', stream, unpack(taken)) end

local last = tonumber(redis.call('HGET', senders, ARGV[1]) or '0')
if tonumber(ARGV[2]) <= last then return cmsgpack.pack({now_us}) end
redis.call('HSET', senders, ARGV[1], ARGV[2])

local plain = {} -- holds that no budget and no limit concerns: let go of together

local function settle(entry, record)
  local hold, amount, cost, budgets, busy = entry[1], entry[2], entry[3], entry[4], entry[5]
  local handed_us = entry[7]
  local owed = cost
  if #budgets == 0 and #busy == 0 and #entry[6] == 0 then
    plain[#plain + 1] = hold
  elseif redis.call('HDEL', holds, hold) == 1 then
    redis.call('ZREM', leases, hold)
    for _, b in ipairs(budgets) do give_back(b, amount) end
    leave(busy)
    for _, refund in ipairs(entry[6]) do redis.call('HINCRBY', rates, 'a|' .. refund[1], whole(-refund[2])) end
  elseif amount > 0 then
    -- Given up before: its hold was charged, so only the difference is owed. Or never here, or lost with the server's
    -- memory: then the mark keeps an admission that is still on its way from beginning what is over.
    local mark = redis.call('HGET', over, hold)
    if mark then owed = cost - tonumber(string.match(mark, '^%d+')) end
    redis.call('HSET', over, hold, whole(cost) .. ':' .. whole(now_us))
  end
  for _, b in ipairs(budgets) do
    local seeded = 0
    if owed < 0 then
      redis.call('HSET', books, 'q|' .. b[1], whole(now_us))
    elseif handed_us > 0 then
      seeded = tonumber(redis.call('HGET', books, 'z|' .. b[1]) or '0')
    end
    -- A counter that was made from the ledger after it was given this record may hold its cost already. When it does
    -- not, the next look into the ledger raises it; a cost that was added twice would stay.
    if seeded == 0 or handed_us > seeded then charge(b, owed) end
  end
  if record == '' then return '' end
  return redis.call('XADD', stream, '*', 'r', record)
end

local ids = {}
for index, entry in ipairs(cmsgpack.unpack(ARGV[3])) do ids[index] = settle(entry, ARGV[4 + index]) end
if #plain > 0 then
  redis.call('HDEL', holds, unpack(plain))
  redis.call('ZREM', leases, unpack(plain))
end
return cmsgpack.pack({now_us, ids})

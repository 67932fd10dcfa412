-- Admit attempts: for each, all of its limits and budgets or none of them.
--
-- ARGV[1] how long a lease lasts (us)
-- ARGV[2] msgpack list of {hold, amount, budgets, limits, force}
--   limits: {id, kind, cost, most}. kind 'a': a rate in GCRA; cost is the time the attempt takes of it and most how far
--   ahead it may run (us). kind 'c': at most `most` in progress.
--   force: a hold that is known to have been admitted and was lost; nothing is asked
-- ARGV[3...] the note of each: the record to book when nobody settles it, or '' to let its hold go
-- Reply: msgpack {now_us, answers}; an answer is {1, used...}, used in the order of its budgets, or
--   {0, 'budget', index, used} {0, 'rate', index, wait_us} {0, 'busy', index, most} {0, 'seed', index...}
--   {0, 'slot', index}: the slot is not the one of now

local lease_us = tonumber(ARGV[1])

local function look(b)
  local id, slot, slots = b[1], b[2], b[4]
  local newest = tonumber(redis.call('HGET', books, 'w|' .. id))
  if not newest then return 'seed' end
  if now_s < slot or now_s >= slot + b[5] then return 'slot' end
  if newest < slot then advance(b, newest) end -- kept all along, so the next slot begins at nothing
  if slots > 1 then
    roll(b, slot)
    local found = redis.call('HMGET', books, 't|' .. id, held_field(b))
    return nil, tonumber(found[1] or '0'), tonumber(found[2] or '0')
  end
  local found = redis.call('HMGET', books, spent_field(b), held_field(b))
  return nil, tonumber(found[1] or '0'), tonumber(found[2] or '0')
end

-- What no budget and no limit concerns is only remembered, all of it in two commands. Asked twice it is the same; begun
-- after its end it is given up in time, and the ledger knows better.
local plain, until_us = {holds = {}, leases = {}}, whole(now_us + lease_us)

local function remember(hold, packed)
  local h, l = plain.holds, plain.leases
  h[#h + 1], h[#h + 2] = hold, packed
  l[#l + 1], l[#l + 2] = until_us, hold
end

local function admit(entry, note)
  local hold, amount, budgets, limits, force = entry[1], entry[2], entry[3], entry[4], entry[5]
  if #budgets == 0 and #limits == 0 then
    remember(hold, cmsgpack.pack({amount, {}, {}, note}))
    return {1}
  end
  local used, unknown, reached = {1}, {0, 'seed'}, {}
  -- Asked again; or over before this came: what was settled or taken back first must not begin now.
  if redis.call('HEXISTS', holds, hold) == 1 or redis.call('HEXISTS', over, hold) == 1 then return used end
  if not force then
    for index, limit in ipairs(limits) do
      local id, kind, cost, most = limit[1], limit[2], limit[3], limit[4]
      if kind == 'c' then
        if tonumber(redis.call('HGET', rates, 'c|' .. id) or '0') >= most then return {0, 'busy', index, most} end
      else
        local full = tonumber(redis.call('HGET', rates, 'a|' .. id) or '0')
        if full < now_us then full = now_us end
        reached[index] = full + cost
        if reached[index] - now_us > most then return {0, 'rate', index, reached[index] - now_us - most} end
      end
    end
    for index, b in ipairs(budgets) do
      local why, spent, held = look(b)
      if why == 'slot' then return {0, 'slot', index} end
      if why == 'seed' then
        unknown[#unknown + 1] = index
      else
        if b[3] >= 0 and spent + held + amount > b[3] then return {0, 'budget', index, spent + held} end
        used[#used + 1] = spent + held + amount
      end
    end
    if #unknown > 2 then return unknown end
  end
  local busy, kept = {}, {}
  for index, limit in ipairs(limits) do
    if limit[2] == 'c' then
      busy[#busy + 1] = limit[1]
      redis.call('HINCRBY', rates, 'c|' .. limit[1], 1)
    elseif reached[index] then
      redis.call('HSET', rates, 'a|' .. limit[1], whole(reached[index]))
    end
  end
  for index, b in ipairs(budgets) do
    add(books, held_field(b), amount)
    kept[index] = {b[1], b[2], -1, b[4], b[5]}
  end
  redis.call('HSET', holds, hold, cmsgpack.pack({amount, kept, busy, note}))
  redis.call('ZADD', leases, until_us, hold)
  return used
end

local answers = {}
for index, entry in ipairs(cmsgpack.unpack(ARGV[2])) do answers[index] = admit(entry, ARGV[2 + index]) end
if #plain.holds > 0 then
  redis.call('HSET', holds, unpack(plain.holds))
  redis.call('ZADD', leases, unpack(plain.leases))
end
return cmsgpack.pack({now_us, answers})

-- What the scripts of the accounts share. Each script file is run with this text before it.
--
-- KEYS, all of one organisation and so of one slot:
--   1 books   hash   per budget: w|id newest slot known   s|id|slot spent   h|id|slot held   z|id last seeded (us)
--                    rolling ones also: t|id spent in all slots that count   e|id the oldest of them   h|id held
--                    q|id when a charge was brought down to a late truth, which the ledger may not know yet (us)
--   2 holds   hash   hold -> what the sweeper must know of it
--   3 leases  zset   hold -> when its lease ends (us)
--   4 rates   hash   a|id when a limit is empty again (us)   c|id attempts in progress
--   5 stream         finished records on their way into the ledger
--   6 senders hash   worker -> number of the last batch it had applied
--   7 over    hash   hold -> charged:when, of attempts that were given up, or settled while their hold was not here
--
-- Amounts are whole nano-dollars below 2^53, where a Lua number is exact; they are changed by HINCRBY, which is exact to
-- 2^63, and only compared here. Time is the server's own, so that no worker's clock decides anything.
--
-- A budget in an argument is {id, slot, limit, slots, length}: limit -1 never refuses; slots > 1 says that it rolls.

local books, holds, leases, rates = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local stream, senders, over = KEYS[5], KEYS[6], KEYS[7]
local clock = redis.call('TIME')
local now_s = tonumber(clock[1])
local now_us = now_s * 1000000 + tonumber(clock[2])

-- HINCRBY wants digits: Lua writes a large number as 1e+15, and nothing given back as -0.
local function whole(number) return string.format('%.0f', number + 0) end

local function add(key, field, amount)
  if amount ~= 0 then redis.call('HINCRBY', key, field, whole(amount)) end
end

local function held_field(b)
  if b[4] > 1 then return 'h|' .. b[1] end
  return 'h|' .. b[1] .. '|' .. whole(b[2])
end

local function spent_field(b) return 's|' .. b[1] .. '|' .. whole(b[2]) end

-- A counter goes on to the slot of b. A calendar window's slot before it is forgotten, or with its last hold.
local function advance(b, newest)
  if b[4] == 1 then
    local old = {b[1], newest, 0, 1}
    if tonumber(redis.call('HGET', books, held_field(old)) or '0') <= 0 then
      redis.call('HDEL', books, held_field(old), spent_field(old))
    end
  end
  redis.call('HSET', books, 'w|' .. b[1], whole(b[2]))
end

-- Let go of the slots of a rolling budget that no longer count, seen from the slot `newest`.
local function roll(b, newest)
  local id, slots, length = b[1], b[4], b[5]
  local first = newest - (slots - 1) * length
  local oldest = tonumber(redis.call('HGET', books, 'e|' .. id))
  if not oldest then
    redis.call('HSET', books, 'e|' .. id, whole(first))
    return
  end
  if oldest >= first then return end
  if first - oldest >= slots * length then
    -- Longer ago than a whole window: look at the fields themselves instead of stepping through empty time.
    local upto = oldest + slots * length
    while oldest < upto do
      redis.call('HDEL', books, 's|' .. id .. '|' .. whole(oldest))
      oldest = oldest + length
    end
    redis.call('HSET', books, 't|' .. id, '0')
  else
    while oldest < first do
      local field = 's|' .. id .. '|' .. whole(oldest)
      local gone = tonumber(redis.call('HGET', books, field) or '0')
      if gone ~= 0 then add(books, 't|' .. id, -gone) end
      redis.call('HDEL', books, field)
      oldest = oldest + length
    end
  end
  redis.call('HSET', books, 'e|' .. id, whole(first))
end

-- Charge a budget's slot. A slot that no longer counts, and was let go, is not begun anew.
local function charge(b, amount)
  if amount == 0 then return end
  local id = b[1]
  if b[4] > 1 then
    local oldest = tonumber(redis.call('HGET', books, 'e|' .. id))
    if oldest and b[2] >= oldest then
      roll(b, b[2]) -- what was admitted while the server was away may lie past all that is known
      add(books, spent_field(b), amount)
      add(books, 't|' .. id, amount)
    end
    return
  end
  local newest = tonumber(redis.call('HGET', books, 'w|' .. id))
  if newest and (b[2] >= newest or redis.call('HEXISTS', books, spent_field(b)) == 1) then
    add(books, spent_field(b), amount)
  end
end

-- Give back what a hold took of a budget; an old slot without holds is forgotten.
local function give_back(b, amount)
  local field = held_field(b)
  local left = redis.call('HINCRBY', books, field, whole(-amount))
  if left <= 0 and b[4] == 1 then
    local newest = tonumber(redis.call('HGET', books, 'w|' .. b[1]))
    if newest and b[2] < newest then redis.call('HDEL', books, field, spent_field(b)) end
  end
end

local function leave(limits)
  for _, id in ipairs(limits) do
    if redis.call('HINCRBY', rates, 'c|' .. id, -1) < 0 then redis.call('HSET', rates, 'c|' .. id, '0') end
  end
end

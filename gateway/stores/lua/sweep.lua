-- Give up holds whose lease has ended: whoever placed them is gone. What was sent may have been billed, so it is charged
-- at its hold and its record, marked uncertain, goes on to the ledger. Safe to run in every worker at once.
--
-- ARGV[1] how many at most, ARGV[2] how long it is known which attempts are over (us)
-- Reply: how many were given up

local found = redis.call('ZRANGEBYSCORE', leases, '-inf', whole(now_us), 'LIMIT', 0, tonumber(ARGV[1]))
for _, hold in ipairs(found) do
  local packed = redis.call('HGET', holds, hold)
  redis.call('ZREM', leases, hold)
  if packed then
    redis.call('HDEL', holds, hold)
    local kept = cmsgpack.unpack(packed)
    local amount, budgets, busy, note = kept[1], kept[2], kept[3], kept[4]
    for _, b in ipairs(budgets) do give_back(b, amount) end
    leave(busy)
    if note ~= '' then
      for _, b in ipairs(budgets) do charge(b, amount) end
      redis.call('XADD', stream, '*', 'r', note)
      redis.call('HSET', over, hold, whole(amount) .. ':' .. whole(now_us))
    end
  end
end
if redis.call('HLEN', over) > 1000 then
  -- At random: a scan would need its place kept between the calls, or look at the same ones each time.
  local marks = redis.call('HRANDFIELD', over, '200', 'WITHVALUES')
  for at = 1, #marks, 2 do
    local marked = tonumber(string.match(marks[at + 1], ':(%d+)$'))
    if now_us - marked > tonumber(ARGV[2]) then redis.call('HDEL', over, marks[at]) end
  end
end
return #found

-- Keep holds that are still at work. ARGV[1] how long a lease lasts (us), ARGV[2] msgpack list of holds.
-- Reply: msgpack {now_us, indexes of those that are not here}: lost with the server's memory

local lost = {}
local until_us = whole(now_us + tonumber(ARGV[1]))
for index, hold in ipairs(cmsgpack.unpack(ARGV[2])) do
  if redis.call('HEXISTS', holds, hold) == 1 then
    redis.call('ZADD', leases, until_us, hold)
  elseif redis.call('HEXISTS', over, hold) == 0 then
    lost[#lost + 1] = index
  end
end
return cmsgpack.pack({now_us, lost})

-- Takes back what was counted latest, for many users at once; redis_allow.lua tells what the values are.
--
-- KEYS: one for each user, none twice. ARGV: how many each user gives back.

local pack, unpack, sub = struct.pack, struct.unpack, string.sub

local function without(given, value)
  local counted, last, rest = unpack('>I4', value), #value, ''
  while given > 0 and last > 4 do
    local ended, count = unpack('>I6I4', value, last - 9)
    local taken = math.min(given, count)
    if taken < count then rest = pack('>I6I4', ended, count - taken) end
    given, counted, last = given - taken, counted - taken, last - 10
  end
  return pack('>I4', counted) .. sub(value, 5, last) .. rest
end

for at, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value then
    value = without(tonumber(ARGV[at]), value)
    if #value > 4 then
      redis.call('SET', key, value, 'KEEPTTL')
    else
      redis.call('DEL', key)
    end
  end
end

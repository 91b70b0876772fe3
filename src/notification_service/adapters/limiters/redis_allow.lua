-- Asks for notifications for many users at once; what is refused isn't counted.
--
-- KEYS: one for each user, none twice. ARGV: the limit, the window and the length of a slot in milliseconds, then
-- how many each user asks for.
-- Returns four numbers for each key, in order: how many are allowed, how many are counted now, milliseconds until
-- none is, milliseconds until one more is allowed (0 if all were).
--
-- A value is four bytes with the sum of all counts, then ten bytes for each slot in which something was counted,
-- oldest first: when the slot ended (6, in milliseconds) and its count (4).

local limit, window, slot = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local end_of_slot = (math.floor(now / slot) + 1) * slot
local pack, unpack, sub = struct.pack, struct.unpack, string.sub
local NOTHING = pack('>I4', 0)

local function until_over(ended)
  return ended + window - now
end

local function remembered(value)
  local counted, place = unpack('>I4', value), 5
  while place < #value do
    local ended, count = unpack('>I6I4', value, place)
    if until_over(ended) > 0 then break end
    counted, place = counted - count, place + 10
  end
  return counted, sub(value, place)
end

local function with(granted, slots)
  local ended, count = end_of_slot, 0
  if #slots > 0 then
    local last, in_last = unpack('>I6I4', slots, #slots - 9)
    if last >= end_of_slot then -- later than now: the server's clock was put back
      ended, count, slots = last, in_last, sub(slots, 1, -11)
    end
  end
  return slots .. pack('>I6I4', ended, count + granted)
end

local function until_one_more(counted, slots)
  local place, ended, count = 1, 0, 0
  while counted >= limit do
    ended, count = unpack('>I6I4', slots, place)
    counted, place = counted - count, place + 10
  end
  return until_over(ended)
end

local answers, filled = {}, 0
for at, key in ipairs(KEYS) do
  local asked = tonumber(ARGV[at + 3])
  local counted, slots = remembered(redis.call('GET', key) or NOTHING)
  local granted = math.max(math.min(asked, limit - counted), 0)
  if granted > 0 then
    counted, slots = counted + granted, with(granted, slots)
  end
  local until_empty = until_over(unpack('>I6', slots, #slots - 9))
  if granted > 0 then
    redis.call('SET', key, pack('>I4', counted) .. slots, 'PX', until_empty)
  end
  answers[filled + 1] = granted
  answers[filled + 2] = counted
  answers[filled + 3] = until_empty
  answers[filled + 4] = granted < asked and until_one_more(counted, slots) or 0
  filled = filled + 4
end
return answers

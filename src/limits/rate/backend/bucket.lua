-- bucket.rs, for a bucket that many share. The clock is Redis' own: those who ask need not agree on one.
-- Time is in microseconds and debt in nanoseconds, whole numbers that a double holds exactly.
-- KEYS[1]: the bucket. ARGV: nanoseconds in which a token grows, and in which a bucket fills, and of a block.
local interval, capacity, block = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local at, debt, blocked = now, 0, 0
local held = redis.call('GET', KEYS[1])
if held and #held == 24 then
  at, debt, blocked = struct.unpack('>ddd', held)
end
-- A clock that was set back, or that of another server, gives nothing and takes nothing: what is held goes on from now.
local moved = at > now
if moved then
  at = now
end
if blocked - now > math.ceil(block / 1000) then
  blocked, moved = now + math.ceil(block / 1000), true
end
local function keep()
  -- Kept only until it is full again, when it is as good as none.
  local life = math.max(debt / 1000000, (blocked - now) / 1000)
  redis.call('SET', KEYS[1], struct.pack('>ddd', now, debt, blocked), 'PX', string.format('%.0f', math.ceil(life)))
end
debt = math.max(0, debt - (now - at) * 1000)
if blocked > now then
  if moved then
    keep()
  end
  return {2, 0, (blocked - now) * 1000}
end
local status, left
if debt + interval <= capacity then
  debt = debt + interval
  status, left, blocked = 1, math.floor((capacity - debt) / interval), 0
elseif block > 0 then
  status, left, blocked = 2, 0, now + math.ceil(block / 1000)
else
  -- Nothing has changed, and so nothing is written: a flood costs one read.
  if moved then
    keep()
  end
  return {0, 0, debt + interval - capacity}
end
keep()
if status == 1 then
  return {1, left, debt}
end
return {2, 0, block}

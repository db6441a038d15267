#!lua name=tiffin_projection_v1

-- All that touches more than one key at once. Names are global to the server and end in a
-- version: another build with other functions brings another name.
-- Lua numbers are doubles: versions, scores and stamps stay below 2^53.

local function filled(sentinel, kind)
  return redis.call('HEXISTS', sentinel, 'filled:' .. kind) == 1
end

local function whole(number)
  return string.format('%.0f', number)
end

-- A topic's counter starts at the server's microseconds, so that a counter that expired and
-- starts anew is still above every stamp it ever gave.
local function last_stamp(prefix, topic, ttl)
  local counter = prefix .. 'seq:' .. topic
  local seq = redis.call('GET', counter)
  if not seq then
    local time = redis.call('TIME')
    seq = whole(tonumber(time[1]) * 1000000 + tonumber(time[2]))
    redis.call('SET', counter, seq)
  end
  redis.call('EXPIRE', counter, ttl)
  return seq
end

local function announce(prefix, generation, topic, text, cap, ttl)
  last_stamp(prefix, topic, ttl)
  local seq = redis.call('INCR', prefix .. 'seq:' .. topic)
  local live = prefix .. 'live:' .. topic
  local stamp = generation .. '-' .. whole(seq)
  redis.call('XADD', live, 'MAXLEN', '=', cap, stamp, 'e', text)
  redis.call('EXPIRE', live, ttl)
  redis.call('PUBLISH', live, stamp .. '\n' .. text)
end

local function place(prefix, member, old, new)
  for key in pairs(old) do
    if not new[key] then redis.call('ZREM', prefix .. key, member) end
  end
  for key, score in pairs(new) do
    if old[key] ~= score then redis.call('ZADD', prefix .. key, score, member) end
  end
end

-- KEYS sentinel, document
-- ARGV prefix, kind, member, expected version, new version, document, entries, quiet,
--      announcements, cap, ttl
local function apply(keys, args)
  local prefix, kind, member = args[1], args[2], args[3]
  local generation = redis.call('HGET', keys[1], 'generation')
  if not generation then return 'unfilled' end
  local quiet = args[8] == '1'
  if quiet and filled(keys[1], kind) then return 'filled' end
  local stored = redis.call('HMGET', keys[2], 'v', 'idx')
  local version = tonumber(stored[1] or '0')
  if version >= tonumber(args[5]) then return 'dropped' end
  if version ~= tonumber(args[4]) then return 'gap' end
  place(prefix, member, cjson.decode(stored[2] or '{}'), cjson.decode(args[7]))
  redis.call('HSET', keys[2], 'v', args[5], 'doc', args[6], 'idx', args[7])
  if not quiet then
    for _, announcement in ipairs(cjson.decode(args[9])) do
      for _, topic in ipairs(announcement.topics) do
        announce(prefix, generation, topic, announcement.text, args[10], args[11])
      end
    end
  end
  return 'set'
end

-- KEYS sentinel. ARGV wall clock in ms, kind.
-- Starts a new generation if there is none, or if the data came from another server's life.
local function begin(keys, args)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local known = redis.call('HMGET', keys[1], 'generation', 'run')
  if not known[1] or known[2] ~= run then
    local generation = tonumber(args[1])
    if known[1] then generation = math.max(generation, tonumber(known[1]) + 1) end
    redis.call('DEL', keys[1])
    known[1] = whole(generation)
    redis.call('HSET', keys[1], 'generation', known[1], 'run', run)
  end
  return { known[1], filled(keys[1], args[2]) and 1 or 0 }
end

-- KEYS sentinel. ARGV generation, kind.
local function finish(keys, args)
  if redis.call('HGET', keys[1], 'generation') ~= args[1] then return 0 end
  redis.call('HSET', keys[1], 'filled:' .. args[2], '1')
  return 1
end

-- KEYS sentinel, document. ARGV kind.
local function get(keys, args)
  local document = redis.call('HMGET', keys[2], 'v', 'doc', 'q')
  return { filled(keys[1], args[1]) and 1 or 0, document[1], document[2], document[3] }
end

-- KEYS sentinel, index. ARGV prefix, kind, highest score, member to start behind, limit.
local function list(keys, args)
  local prefix, behind, limit = args[1], args[4], tonumber(args[5])
  if not filled(keys[1], args[2]) then return { 0 } end
  local found, offset = { 1 }, 0
  local left = limit
  while left > 0 do
    local chunk = redis.call('ZREVRANGEBYSCORE', keys[2], args[3], '-inf', 'WITHSCORES', 'LIMIT', offset, limit)
    if #chunk == 0 then break end
    offset = offset + limit
    for i = 1, #chunk, 2 do
      local member, score = chunk[i], chunk[i + 1]
      local seen = behind ~= '' and score == args[3] and member >= behind
      if not seen and left > 0 then
        local document = redis.call('HMGET', prefix .. 'doc:' .. member, 'v', 'doc', 'q')
        table.insert(found, { member, score, document[1], document[2], document[3] })
        left = left - 1
      end
    end
  end
  return found
end

-- KEYS sentinel, topic's documents, lists to be counted. ARGV prefix, topic, limit, ttl, kinds.
-- The stamp, the counts, and the documents; no stamp while a kind is not complete.
local function snapshot(keys, args)
  local prefix, topic = args[1], args[2]
  local wanted = {}
  for i = 5, #args do
    if not filled(keys[1], args[i]) then return { '', {}, {} } end
    wanted[args[i]] = true
  end
  local stamp = redis.call('HGET', keys[1], 'generation') .. '-' .. last_stamp(prefix, topic, args[4])
  local counts, found = {}, {}
  for i = 3, #keys do table.insert(counts, redis.call('ZCARD', keys[i])) end
  for _, member in ipairs(redis.call('ZREVRANGE', keys[2], 0, tonumber(args[3]) - 1)) do
    if wanted[string.match(member, '^[^:]+')] then
      local document = redis.call('HMGET', prefix .. 'doc:' .. member, 'v', 'doc', 'q')
      table.insert(found, { member, document[1], document[2], document[3] })
    end
  end
  return { stamp, counts, found }
end

-- KEYS sentinel, live stream, counter. ARGV generation, sequence number, limit.
-- What came after a stamp: 'ok' and the entries, or 'lost' if some are gone.
local function resume(keys, args)
  if redis.call('HGET', keys[1], 'generation') ~= args[1] then return { 'lost' } end
  local seq = tonumber(args[2])
  local missing = tonumber(redis.call('GET', keys[3]) or '-1') - seq
  if missing == 0 then return { 'ok' } end
  if missing < 0 or missing > tonumber(args[3]) then return { 'lost' } end
  local entries = redis.call('XRANGE', keys[2], '(' .. args[1] .. '-' .. args[2], '+')
  if #entries ~= missing then return { 'lost' } end
  local found = { 'ok' }
  for _, entry in ipairs(entries) do
    table.insert(found, entry[1])
    table.insert(found, entry[2][2])
  end
  return found
end

redis.register_function('tiffin_apply_v1', apply)
redis.register_function('tiffin_begin_v1', begin)
redis.register_function('tiffin_finish_v1', finish)
redis.register_function('tiffin_get_v1', get)
redis.register_function('tiffin_list_v1', list)
redis.register_function('tiffin_snapshot_v1', snapshot)
redis.register_function('tiffin_resume_v1', resume)

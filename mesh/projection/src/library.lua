#!lua name=tiffin_projection_v6

-- All that touches more than one key at once. Names are global to the server and end in a
-- version: another build with other functions brings another name.
-- Lua numbers are doubles: versions, scores and stamps stay below 2^53.
-- Everything of an edition lies behind '<prefix><edition>:', so that it can be thrown away whole.

local function whole(number)
  return string.format('%.0f', number)
end

-- Which editions of a kind there are: 'current' is what readers see, and complete if it is
-- 'filled'; 'building' is filled beside it; 'previous' is kept in case the new one is wrong.
local function editions(sentinel, kind)
  local known = redis.call('HMGET', sentinel, 'current:' .. kind, 'filled:' .. kind, 'building:' .. kind,
    'previous:' .. kind, 'generation')
  return {
    current = known[1],
    is_filled = known[1] and known[1] == known[2],
    building = known[3],
    previous = known[4],
    generation = known[5],
  }
end

local function document(prefix, edition, stream)
  return prefix .. edition .. ':doc:' .. stream
end

local function counter_of(prefix, topic)
  return prefix .. 'seq:' .. topic
end

-- A topic has a counter while somebody listens to it, or may come back to it.
local function is_heard(prefix, topic, ttl)
  return redis.call('EXPIRE', counter_of(prefix, topic), ttl) == 1
end

-- Begins a topic, if need be. Its counter starts at the server's microseconds, so that a counter
-- that expired and starts anew is still above every stamp it ever gave.
local function last_stamp(prefix, topic, ttl)
  local counter = counter_of(prefix, topic)
  local seq = redis.call('GET', counter)
  if not seq then
    local time = redis.call('TIME')
    seq = whole(tonumber(time[1]) * 1000000 + tonumber(time[2]))
    redis.call('SET', counter, seq)
  end
  redis.call('EXPIRE', counter, ttl)
  return seq
end

local function announce(prefix, generation, topic, text, cap)
  local seq = redis.call('INCR', counter_of(prefix, topic))
  local live = prefix .. 'live:' .. topic
  local stamp = generation .. '-' .. whole(seq)
  redis.call('XADD', live, 'MAXLEN', '=', cap, stamp, 'e', text)
  redis.call('PUBLISH', live, stamp .. '\n' .. text)
end

-- Something happened that is announced to nobody: the hole that it leaves makes clients take a
-- fresh snapshot.
local function skip(prefix, topic)
  redis.call('INCR', counter_of(prefix, topic))
end

local function place(prefix, stream, old, new)
  for key in pairs(old) do
    if not new[key] then redis.call('ZREM', prefix .. key, stream) end
  end
  for key, score in pairs(new) do
    if old[key] ~= score then redis.call('ZADD', prefix .. key, score, stream) end
  end
end

local function is_closing(prefix, kind, known)
  return known.building and redis.call('EXISTS', prefix .. 'closing:' .. kind) == 1
end

-- One document, unless it is older than what is there or follows on something else.
local function apply_one(prefix, kind, voice, known, closing, doc, cap, ttl)
  local is_current = doc.edition == known.current
  if voice == 'quiet' then
    if is_current and known.is_filled then return 'filled' end
    if not is_current and doc.edition ~= known.building then return 'gone' end
  elseif not is_current then
    -- Another edition became the current one since the document was read.
    return 'gap'
  elseif closing then
    -- Another will be in a moment; it is read again then.
    return 'gap'
  end
  local key = document(prefix, doc.edition, doc.stream)
  local stored = redis.call('HMGET', key, 'v', 'idx', 'q')
  local version = tonumber(stored[1] or '0')
  if version >= tonumber(doc.version) then return 'dropped' end
  -- Who writes may not have read, so it may not know of a quarantine.
  if version ~= tonumber(doc.expected) or stored[3] then return 'gap' end
  if stored[2] ~= doc.entries then
    place(prefix .. doc.edition .. ':', doc.stream, cjson.decode(stored[2] or '{}'), cjson.decode(doc.entries))
  end
  redis.call('HSET', key, 'v', doc.version, 'doc', doc.text, 'idx', doc.entries)
  if is_current and known.building then
    redis.call('SADD', prefix .. known.building .. ':dirty', doc.stream)
  end
  if voice == 'quiet' then return 'set' end
  -- Whoever comes to a topic first is given a snapshot: until then there is nothing to miss.
  local heard = {}
  for _, announcement in ipairs(cjson.decode(doc.announcements)) do
    for _, topic in ipairs(announcement.topics) do
      if heard[topic] == nil then heard[topic] = is_heard(prefix, topic, ttl) end
      if heard[topic] and voice == 'aloud' then
        announce(prefix, known.generation, topic, announcement.text, cap)
      elseif heard[topic] then
        skip(prefix, topic)
      end
    end
  end
  for topic, is in pairs(heard) do
    if is then redis.call('EXPIRE', prefix .. 'live:' .. topic, ttl) end
  end
  return 'set'
end

-- KEYS sentinel.
-- ARGV prefix, kind, voice, cap, ttl, and of each document: edition, stream, expected version, new version, document,
--      entries, announcements.
-- What became of each.
local function apply(keys, args)
  local prefix, kind, voice = args[1], args[2], args[3]
  local known = editions(keys[1], kind)
  local closing = is_closing(prefix, kind, known)
  local verdicts = {}
  for i = 6, #args, 7 do
    local doc = {
      edition = args[i],
      stream = args[i + 1],
      expected = args[i + 2],
      version = args[i + 3],
      text = args[i + 4],
      entries = args[i + 5],
      announcements = args[i + 6],
    }
    local verdict = 'unfilled'
    if known.current then verdict = apply_one(prefix, kind, voice, known, closing, doc, args[4], args[5]) end
    table.insert(verdicts, verdict)
  end
  return verdicts
end

-- A name that no edition of this kind has or had.
local function fresh_edition(known, kind, version, now)
  local id = math.max(tonumber(now), tonumber(known.generation))
  local name
  repeat
    name = kind .. '.' .. version .. '.' .. whole(id)
    id = id + 1
  until name ~= known.current and name ~= known.previous
  return name
end

-- KEYS sentinel. ARGV wall clock in ms, kind, the view's version, prefix, ttl.
-- Starts a new generation if there is none, or if the data came from another server's life.
-- Whoever asks is alive, and so is its version.
local function begin(keys, args)
  local now, kind = args[1], args[2]
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local life = redis.call('HMGET', keys[1], 'generation', 'run')
  if not life[1] or life[2] ~= run then
    local generation = tonumber(now)
    if life[1] then generation = math.max(generation, tonumber(life[1]) + 1) end
    redis.call('DEL', keys[1])
    redis.call('HSET', keys[1], 'generation', whole(generation), 'run', run)
  end
  local known = editions(keys[1], kind)
  if not known.current then
    known.current = fresh_edition(known, kind, args[3], now)
    redis.call('HSET', keys[1], 'current:' .. kind, known.current)
  end
  local alive = args[4] .. 'alive:' .. kind .. '.'
  redis.call('SET', alive .. args[3], '1', 'EX', args[5])
  local is_cared_for = redis.call('EXISTS', alive .. string.match(known.current, '^[^.]*%.(%d+)'))
  local catching_up = redis.call('HGET', keys[1], 'catching_up:' .. kind)
  local told = redis.call('HMGET', keys[1], 'progress:' .. kind, 'built:' .. kind, 'declined:' .. kind)
  return {
    known.generation, known.current, known.is_filled and 1 or 0, known.building, known.previous,
    known.building and catching_up == known.building and 1 or 0, told[1], told[2], told[3] or '0', is_cared_for,
  }
end

-- KEYS sentinel. ARGV wall clock in ms, kind, the view's version, whether to go back.
-- Says which edition is to be filled beside the current one: a new one, or the previous one.
local function start(keys, args)
  local kind, is_back = args[2], args[4] == '1'
  local known = editions(keys[1], kind)
  if not known.is_filled then return 'unfilled' end
  if known.building then return 'running' end
  if is_back and not known.previous then return 'none' end
  redis.call('HDEL', keys[1], 'previous:' .. kind, 'catching_up:' .. kind, 'progress:' .. kind, 'declined:' .. kind)
  if is_back then
    -- Whoever goes back does not want this version again by itself.
    redis.call('HSET', keys[1], 'declined:' .. kind, args[3])
    redis.call('HSET', keys[1], 'building:' .. kind, known.previous, 'catching_up:' .. kind, known.previous)
  else
    redis.call('HSET', keys[1], 'building:' .. kind, fresh_edition(known, kind, args[3], args[1]))
  end
  return 'started'
end

-- KEYS sentinel, lease. ARGV kind, who, ttl in ms, progress.
-- Whether it is this process that fills; it says how far it is.
local function lease(keys, args)
  local holder = redis.call('GET', keys[2])
  if holder and holder ~= args[2] then return 0 end
  redis.call('SET', keys[2], args[2], 'PX', args[3])
  redis.call('HSET', keys[1], 'progress:' .. args[1], args[4])
  return 1
end

-- KEYS sentinel. ARGV prefix, kind, edition, wall clock in ms, limit, summary, ms to hold news up.
-- The current edition is complete from now on; one that was built beside it takes its place, but
-- only if no document in it is older than what readers see: else those that are. Under load some
-- always are, so news for the current one is held up while they are brought.
local function finish(keys, args)
  local prefix, kind, edition = args[1], args[2], args[3]
  local known = editions(keys[1], kind)
  if edition == known.current then
    redis.call('HSET', keys[1], 'filled:' .. kind, edition, 'built:' .. kind, args[6])
    redis.call('HDEL', keys[1], 'progress:' .. kind)
    return { 'done' }
  end
  if edition ~= known.building then return { 'gone' } end
  local closing = prefix .. 'closing:' .. kind
  if tonumber(args[7]) > 0 then redis.call('SET', closing, '1', 'PX', args[7]) end
  local dirty = prefix .. edition .. ':dirty'
  local behind = { 'behind' }
  for _, stream in ipairs(redis.call('SRANDMEMBER', dirty, args[5])) do
    local shown = redis.call('HGET', document(prefix, known.current, stream), 'v')
    local built = redis.call('HMGET', document(prefix, edition, stream), 'v', 'q')
    if tonumber(built[1] or '0') < tonumber(shown or '0') and not built[2] then
      table.insert(behind, stream)
    else
      redis.call('SREM', dirty, stream)
    end
  end
  if redis.call('SCARD', dirty) > 0 then return behind end
  -- What was written quietly was announced to nobody, so stamps begin anew.
  local generation = whole(math.max(tonumber(args[4]), tonumber(known.generation) + 1))
  redis.call('HSET', keys[1], 'generation', generation, 'current:' .. kind, edition, 'filled:' .. kind, edition,
    'previous:' .. kind, known.current, 'built:' .. kind, args[6])
  redis.call('HDEL', keys[1], 'building:' .. kind, 'catching_up:' .. kind, 'progress:' .. kind)
  redis.call('DEL', closing)
  return { 'done' }
end

-- KEYS sentinel. ARGV prefix, kind, edition (empty for the current one), streams.
local function stored(keys, args)
  local edition = args[3]
  if edition == '' then edition = redis.call('HGET', keys[1], 'current:' .. args[2]) end
  local rows = {}
  if edition then
    for i = 4, #args do
      rows[i - 3] = redis.call('HMGET', document(args[1], edition, args[i]), 'v', 'doc', 'q')
    end
  end
  return { edition, rows }
end

-- KEYS sentinel. ARGV prefix, kind, edition (empty for the current one), streams.
-- Their versions, and whether they are quarantined.
local function versions(keys, args)
  local edition = args[3]
  if edition == '' then edition = redis.call('HGET', keys[1], 'current:' .. args[2]) end
  local found = {}
  for i = 4, #args do
    local row = edition and redis.call('HMGET', document(args[1], edition, args[i]), 'v', 'q') or {}
    found[i - 3] = { row[1] or '0', row[2] and 1 or 0 }
  end
  return found
end

-- KEYS sentinel. ARGV prefix, kind, stream, reason.
local function quarantine(keys, args)
  local known = editions(keys[1], args[2])
  for _, edition in ipairs({ known.current or '', known.building or '' }) do
    if edition ~= '' then redis.call('HSET', document(args[1], edition, args[3]), 'q', args[4]) end
  end
  return 1
end

-- KEYS sentinel. ARGV prefix, kind, stream.
local function get(keys, args)
  local known = editions(keys[1], args[2])
  if not known.current then return { 0 } end
  local row = redis.call('HMGET', document(args[1], known.current, args[3]), 'v', 'doc', 'q')
  return { known.is_filled and 1 or 0, row[1], row[2], row[3] }
end

-- KEYS sentinel. ARGV prefix, kind, highest score, stream to start behind, limit, index.
local function list(keys, args)
  local prefix, behind, limit = args[1], args[4], tonumber(args[5])
  local known = editions(keys[1], args[2])
  if not known.is_filled then return { 0 } end
  local index = prefix .. known.current .. ':' .. args[6]
  local found, offset = { 1 }, 0
  local left = limit
  while left > 0 do
    local chunk = redis.call('ZREVRANGEBYSCORE', index, args[3], '-inf', 'WITHSCORES', 'LIMIT', offset, limit)
    if #chunk == 0 then break end
    offset = offset + limit
    for i = 1, #chunk, 2 do
      local stream, score = chunk[i], chunk[i + 1]
      local seen = behind ~= '' and score == args[3] and stream >= behind
      if not seen and left > 0 then
        local row = redis.call('HMGET', document(prefix, known.current, stream), 'v', 'doc', 'q')
        table.insert(found, { stream, score, row[1], row[2], row[3] })
        left = left - 1
      end
    end
  end
  return found
end

-- KEYS sentinel. ARGV prefix, kind, topic.
local function members(keys, args)
  local known = editions(keys[1], args[2])
  if not known.current then return {} end
  return redis.call('ZRANGE', args[1] .. known.current .. ':' .. args[3], 0, -1)
end

-- KEYS sentinel. ARGV prefix, topic, limit, ttl, number of kinds, kinds, kinds and lists to be counted.
-- The stamp, the counts, and the documents of each kind; no stamp while a kind is not complete.
local function snapshot(keys, args)
  local prefix, topic = args[1], args[2]
  local kinds = tonumber(args[5])
  local current, generation = {}, nil
  local function is_complete(kind)
    local known = editions(keys[1], kind)
    current[kind], generation = known.current, known.generation
    return known.is_filled
  end
  for i = 6, 5 + kinds do
    if not is_complete(args[i]) then return { '', {}, {} } end
  end
  local counts, found = {}, {}
  for i = 6 + kinds, #args, 2 do
    if not is_complete(args[i]) then return { '', {}, {} } end
    table.insert(counts, redis.call('ZCARD', prefix .. current[args[i]] .. ':' .. args[i + 1]))
  end
  for i = 6, 5 + kinds do
    local kind = args[i]
    local members = prefix .. current[kind] .. ':topic:' .. topic
    for _, stream in ipairs(redis.call('ZREVRANGE', members, 0, tonumber(args[3]) - #found - 1)) do
      local row = redis.call('HMGET', document(prefix, current[kind], stream), 'v', 'doc', 'q')
      table.insert(found, { kind, stream, row[1], row[2], row[3] })
    end
    if #found >= tonumber(args[3]) then break end
  end
  generation = generation or redis.call('HGET', keys[1], 'generation')
  if not generation then return { '', {}, {} } end
  return { generation .. '-' .. last_stamp(prefix, topic, args[4]), counts, found }
end

-- KEYS sentinel, live stream, counter. ARGV generation, sequence number, limit, ttl.
-- What came after a stamp: 'ok' and the entries, or 'lost' if some are gone.
local function resume(keys, args)
  if redis.call('HGET', keys[1], 'generation') ~= args[1] then return { 'lost' } end
  redis.call('EXPIRE', keys[3], args[4])
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

redis.register_function('tiffin_apply_v6', apply)
redis.register_function('tiffin_begin_v6', begin)
redis.register_function('tiffin_start_v6', start)
redis.register_function('tiffin_lease_v6', lease)
redis.register_function('tiffin_finish_v6', finish)
redis.register_function('tiffin_stored_v6', stored)
redis.register_function('tiffin_versions_v6', versions)
redis.register_function('tiffin_quarantine_v6', quarantine)
redis.register_function('tiffin_get_v6', get)
redis.register_function('tiffin_list_v6', list)
redis.register_function('tiffin_members_v6', members)
redis.register_function('tiffin_snapshot_v6', snapshot)
redis.register_function('tiffin_resume_v6', resume)

-- Many requests, one statement, one commit; each request gets its own verdict and is stored whole or not at all.
-- Arrays of one group run in parallel; "request" counts from 1. Only refusals are returned.
--
-- Verdicts: 1 conflict (a stream has another version than expected)
--           2 duplicate command (with the stored hash and response)
--           3 already seen (the inbox mark is there)
--           4 timer gone (fired, cleared or set again)
--
-- Rows are locked table by table, and within one in the order of their keys, so that two batches cannot deadlock.
create function engine_append(
    p_requests        int,
    -- Requests that repeat a key of an earlier one in this batch: they must come again.
    p_repeats         int[],
    -- The distinct streams, sorted; p_creates says that some request may create it.
    p_streams         text[],
    p_creates         boolean[],
    -- What each request expects of each of its streams, and what it leaves.
    p_row_request     int[],
    p_row_stream      int[],
    p_row_expected    bigint[],
    p_row_next        bigint[],
    p_event_request   int[],
    p_event_stream    text[],
    p_event_version   bigint[],
    p_event_shard     smallint[],
    p_event_id        uuid[],
    p_event_type      text[],
    p_event_schema    smallint[],
    p_event_data      text[],
    p_event_meta      text[],
    p_event_at        timestamptz[],
    p_command_request int[],
    p_command_id      uuid[],
    p_command_stream  text[],
    p_command_hash    bytea[],
    p_command_answer  text[],
    p_mark_request    int[],
    p_mark_consumer   text[],
    p_mark_stream     text[],
    p_mark_version    bigint[],
    p_fired_request   int[],
    p_fired_stream    text[],
    p_fired_kind      text[],
    p_fired_dedup     uuid[],
    -- Timers to set, or to clear where due is null; of several for one timer the last counts.
    p_timer_request   int[],
    p_timer_stream    text[],
    p_timer_kind      text[],
    p_timer_due       timestamptz[],
    p_timer_dedup     uuid[]
) returns table (request int, verdict int, stored_hash bytea, stored_answer text)
language plpgsql
as $$
#variable_conflict use_column
declare
    v_now     constant timestamptz := clock_timestamp();
    v_verdict int[] := array_fill(0, array[p_requests]);
    v_found   text[];
    v_version bigint[];
    v_rows    constant int := cardinality(p_row_request);
    v_first   int := 1;
    v_request int;
    v_marks   int;
    v_written int;
begin
    foreach v_request in array p_repeats loop
        v_verdict[v_request] := 1;
    end loop;

    if cardinality(p_streams) > 0 then
        if true = any (p_creates) then
            insert into streams (stream_id, category, version)
            select n.id, split_part(n.id, '_', 1), 0
            from unnest(p_streams, p_creates) as n (id, creates)
            where n.creates
            on conflict do nothing;
        end if;

        -- A statement of its own: it must see what was committed while we waited.
        select array_agg(l.stream_id), array_agg(l.version) into v_found, v_version
        from (
            select s.stream_id, s.version from streams s
            where s.stream_id = any (p_streams)
            order by s.stream_id
            for update
        ) l;

        -- What is missing stands at 0. Both lists are sorted, and mostly equal.
        if v_found is distinct from p_streams then
            declare
                v_all  bigint[] := '{}';
                v_next int := 1;
                v_id   text;
            begin
                foreach v_id in array p_streams loop
                    if v_found[v_next] = v_id then
                        v_all := v_all || v_version[v_next];
                        v_next := v_next + 1;
                    else
                        v_all := v_all || 0::bigint;
                    end if;
                end loop;
                v_version := v_all;
            end;
        end if;
    end if;

    if cardinality(p_command_request) > 0 then
        for v_request in
            select c.request from unnest(p_command_request, p_command_id) as c (request, id)
            join commands k on k.command_id = c.id
        loop
            v_verdict[v_request] := 2;
        end loop;
    end if;

    if cardinality(p_mark_request) > 0 then
        for v_request in
            select m.request
            from unnest(p_mark_request, p_mark_consumer, p_mark_stream, p_mark_version) as m (request, consumer, stream, version)
            join inbox i on i.consumer = m.consumer and i.source_stream = m.stream
            where i.version >= m.version
        loop
            v_verdict[v_request] := 3;
        end loop;
    end if;

    if cardinality(p_fired_request) > 0 then
        for v_request in
            select f.request
            from unnest(p_fired_request, p_fired_stream, p_fired_kind, p_fired_dedup) as f (request, stream, kind, dedup)
            where not exists (
                select from timers t
                where t.stream_id = f.stream and t.kind = f.kind and t.dedup = f.dedup
            )
        loop
            -- A repeat comes again and finds out then.
            if v_verdict[v_request] = 0 then
                v_verdict[v_request] := 4;
            end if;
        end loop;
    end if;

    -- In turn: a request sees the versions that the accepted ones before it leave.
    for i in 1 .. v_rows loop
        v_request := p_row_request[i];
        if v_verdict[v_request] = 0 and v_version[p_row_stream[i]] <> p_row_expected[i] then
            v_verdict[v_request] := 1;
        end if;
        if i = v_rows or p_row_request[i + 1] <> v_request then
            if v_verdict[v_request] = 0 then
                for j in v_first .. i loop
                    v_version[p_row_stream[j]] := p_row_next[j];
                end loop;
            end if;
            v_first := i + 1;
        end if;
    end loop;

    if cardinality(p_event_request) > 0 then
        with written as (
            insert into events (stream_id, version, position, shard, event_id, type, schema_version, data, meta, at, recorded_at)
            select e.stream, e.version, nextval('event_position'), e.shard, e.id, e.type, e.schema, e.data::json, e.meta::json, e.at, v_now
            from unnest(
                p_event_request, p_event_stream, p_event_version, p_event_shard, p_event_id,
                p_event_type, p_event_schema, p_event_data, p_event_meta, p_event_at
            ) as e (request, stream, version, shard, id, type, schema, data, meta, at)
            where v_verdict[e.request] = 0
            returning position, shard
        )
        insert into outbox (position, shard) select w.position, w.shard from written w;

        update streams s set version = n.version
        from unnest(p_streams, v_version) as n (id, version)
        where s.stream_id = n.id and s.version <> n.version;

        -- Made above for requests that were refused after all.
        if 0 = any (v_version) then
            delete from streams s
            using unnest(p_streams, p_creates, v_version) as n (id, creates, version)
            where n.creates and n.version = 0 and s.stream_id = n.id and s.version = 0;
        end if;
    end if;

    if cardinality(p_command_request) > 0 then
        insert into commands (command_id, stream_id, request_hash, response, at)
        select c.id, c.stream, c.hash, c.answer, v_now
        from unnest(p_command_request, p_command_id, p_command_stream, p_command_hash, p_command_answer)
            as c (request, id, stream, hash, answer)
        where v_verdict[c.request] = 0
        order by c.id;
    end if;

    if cardinality(p_fired_request) > 0 then
        delete from timers t
        using unnest(p_fired_request, p_fired_stream, p_fired_kind, p_fired_dedup) as f (request, stream, kind, dedup)
        where v_verdict[f.request] = 0 and t.stream_id = f.stream and t.kind = f.kind and t.dedup = f.dedup;
    end if;

    if array_position(p_timer_due, null) is not null then
        delete from timers t
        using (
            select distinct on (c.stream, c.kind) c.stream, c.kind, c.due
            from unnest(p_timer_request, p_timer_stream, p_timer_kind, p_timer_due)
                with ordinality as c (request, stream, kind, due, i)
            where v_verdict[c.request] = 0
            order by c.stream, c.kind, c.i desc
        ) n
        where n.due is null and t.stream_id = n.stream and t.kind = n.kind;
    end if;

    if cardinality(p_timer_request) > 0 then
        insert into timers as t (stream_id, kind, category, due_at, dedup)
        select n.stream, n.kind, split_part(n.stream, '_', 1), n.due, n.dedup
        from (
            select distinct on (c.stream, c.kind) c.stream, c.kind, c.due, c.dedup
            from unnest(p_timer_request, p_timer_stream, p_timer_kind, p_timer_due, p_timer_dedup)
                with ordinality as c (request, stream, kind, due, dedup, i)
            where v_verdict[c.request] = 0
            order by c.stream, c.kind, c.i desc
        ) n
        where n.due is not null
        on conflict (stream_id, kind) do update set due_at = excluded.due_at, dedup = excluded.dedup;
    end if;

    if cardinality(p_mark_request) > 0 then
        insert into inbox as i (consumer, source_stream, version)
        select m.consumer, m.stream, m.version
        from unnest(p_mark_request, p_mark_consumer, p_mark_stream, p_mark_version) as m (request, consumer, stream, version)
        where v_verdict[m.request] = 0
        order by m.consumer, m.stream
        on conflict (consumer, source_stream) do update set version = excluded.version
        where i.version < excluded.version;
        get diagnostics v_written = row_count;

        v_marks := 0;
        foreach v_request in array p_mark_request loop
            if v_verdict[v_request] = 0 then
                v_marks := v_marks + 1;
            end if;
        end loop;
        if v_written <> v_marks then
            raise exception 'another replica set the same inbox mark' using errcode = 'serialization_failure';
        end if;
    end if;

    if 0 = all (v_verdict) then
        return;
    end if;
    return query
        select n.i, v_verdict[n.i], k.request_hash, k.response
        from generate_series(1, p_requests) as n (i)
        left join unnest(p_command_request, p_command_id) as c (request, id)
            on c.request = n.i and v_verdict[n.i] = 2
        left join commands k on k.command_id = c.id
        where v_verdict[n.i] <> 0;
end
$$;

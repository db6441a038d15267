-- Where a long stream stood after one of its events, so that whoever loads it reads the events since and not all of
-- them. A shortcut and no truth: what is missing here, or in a form that the reader does not know, is folded from the
-- events.
create table snapshots (
    stream_id    text collate "C" not null,
    -- Of the state's form and of the fold that made it. Part of the key, since two builds may serve beside each other.
    fold_version int not null,
    -- The event up to which it is folded.
    version      bigint not null check (version > 0),
    -- json for the same reason as the events' own.
    state        json not null,
    -- Wall time.
    at           timestamptz not null,
    primary key (stream_id, fold_version)
    -- Each is written over again and again.
) with (fillfactor = 80);

-- Whoever serves adds and renews them, and has no reason to take one away. What the grants before this one gave
-- by default goes beyond that.
do $$
begin
    execute format('revoke all on snapshots from %I', current_database());
    execute format('grant select, insert, update on snapshots to %I', current_database());
end
$$;

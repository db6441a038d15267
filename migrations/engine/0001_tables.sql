-- What every master keeps, whatever it masters.
-- Identifiers are compared byte by byte ("C"), so that all of us sort them the same way.

create table streams (
    stream_id text collate "C" primary key,
    -- The id's prefix: ord, bas, pay, …
    category  text collate "C" not null,
    version   bigint not null
) with (fillfactor = 80);

-- Order of insertion, not of commits. Cached values would break even that.
create sequence event_position as bigint cache 1;

create table events (
    stream_id      text collate "C" not null,
    version        bigint not null check (version > 0),
    position       bigint not null,
    shard          smallint not null,
    event_id       uuid not null,
    type           text not null,
    schema_version smallint not null,
    -- json, not jsonb: written once, read whole, never searched on the hot path.
    data           json not null,
    meta           json not null,
    -- Business time, given by whoever decided.
    at             timestamptz not null,
    -- Wall time of the append.
    recorded_at    timestamptz not null,
    primary key (stream_id, version)
);
create unique index events_position on events (position);
-- Only healing asks by time, and time grows with the table: a few pages do.
create index events_recorded_at on events using brin (recorded_at);

-- A pointer to each event that the bus has not acknowledged.
create table outbox (
    position bigint primary key,
    shard    smallint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- One deadline per stream and kind; setting it again replaces it.
create table timers (
    stream_id text collate "C" not null,
    kind      text collate "C" not null,
    category  text collate "C" not null,
    due_at    timestamptz not null,
    -- The event that set it: a timer set again is another timer.
    dedup     uuid not null,
    primary key (stream_id, kind)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
create index timers_due on timers (category, due_at);

-- Accepted commands and what they were answered.
create table commands (
    command_id   uuid primary key,
    stream_id    text collate "C" not null,
    request_hash bytea not null,
    response     text not null,
    at           timestamptz not null
);
create index commands_at on commands using brin (at);

-- How far each consumer has applied each foreign stream.
create table inbox (
    consumer      text collate "C" not null,
    source_stream text collate "C" not null,
    version       bigint not null,
    primary key (consumer, source_stream)
) with (fillfactor = 80);

-- Foreign streams that a consumer stopped applying after an event it could not.
create table quarantine (
    consumer      text collate "C" not null,
    stream        text collate "C" not null,
    since_version bigint not null,
    error         text not null,
    at            timestamptz not null,
    primary key (consumer, stream)
);

-- What the bus has acknowledged, so that its losses are noticed.
create table relay_checkpoints (
    id             bigint generated always as identity primary key,
    context        text not null,
    -- Every event up to here was acknowledged, but for those that committed after `at`.
    position       bigint not null,
    -- The newest acknowledged message and the event that it carries.
    js_seq         bigint not null,
    event_id       uuid not null,
    -- When the relay read the outbox.
    at             timestamptz not null,
    -- A stream made at another time is another stream.
    stream_created timestamptz not null
);

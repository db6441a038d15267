-- What dispatch looks at: the newest state of every delivery and courier, written from our own events and gated by version.
-- It can be thrown away: every later event of a stream, and a replay of the bus, writes it again.

create table dispatch_deliveries (
    delivery text collate "C" primary key,
    version  bigint not null,
    is_open  boolean not null,
    -- Who is asked, or on the job.
    concerns text collate "C",
    -- None of an ended one: its version alone keeps late news out.
    doc      jsonb
) with (fillfactor = 80);
create index dispatch_deliveries_open on dispatch_deliveries (delivery) where is_open;
create index dispatch_deliveries_concerns on dispatch_deliveries (concerns) where is_open;

create table dispatch_couriers (
    courier  text collate "C" primary key,
    version  bigint not null,
    on_shift boolean not null,
    doc      jsonb not null
) with (fillfactor = 80);
create index dispatch_couriers_on_shift on dispatch_couriers (courier) where on_shift;

-- Ephemeral: the last position alone, and lost with the server. Couriers send another one within seconds.
create unlogged table positions (
    courier text collate "C" primary key,
    lat_e6  integer not null,
    lon_e6  integer not null,
    -- Business time.
    at      timestamptz not null
) with (fillfactor = 50);

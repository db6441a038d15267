-- People and everything personal about them. Nothing of this is ever in an event.
-- Erasing a person deletes the row, and the rest goes with it.

create table people (
    person     text collate "C" primary key,
    -- Trimmed and in lower case.
    email      text not null unique,
    name       text not null,
    phone      text,
    role       text not null check (role in ('customer', 'kitchen', 'courier', 'operator')),
    -- Of kitchen staff.
    points     text[] not null default '{}',
    created_at timestamptz not null
);

create table credentials (
    person text collate "C" primary key references people on delete cascade,
    -- argon2id, PHC string.
    hash   text not null
);

create table addresses (
    person       text collate "C" not null references people on delete cascade,
    address      text collate "C" not null,
    text         text not null,
    country      text not null,
    lat_e6       integer not null,
    lon_e6       integer not null,
    instructions text,
    primary key (person, address)
);

-- A login and all refresh tokens that came of it. Wall time: security does not run faster than life.
create table refresh_families (
    family     uuid primary key,
    person     text collate "C" not null references people on delete cascade,
    revoked    boolean not null default false,
    -- Moves on with every refresh.
    expires_at timestamptz not null
);
create index refresh_families_person on refresh_families (person);
create index refresh_families_expires on refresh_families (expires_at);

create table refresh_tokens (
    -- SHA-256; the token itself is with its owner alone.
    hash   bytea primary key,
    family uuid not null references refresh_families on delete cascade,
    -- Good for one refresh; a second one gives the theft away.
    used   boolean not null default false
);
create index refresh_tokens_family on refresh_tokens (family);

create table signing_keys (
    kid        text primary key,
    -- PKCS #8. A secret.
    pem        text not null,
    created_at timestamptz not null
);

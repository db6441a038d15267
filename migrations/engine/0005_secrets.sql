-- What an append keeps beside its events, since no event may say it. Whoever keeps it takes it away once it is used.
create table secrets (
    -- Names its one use.
    key        text collate "C" primary key,
    -- Whose it is, such as an order: all of one owner's go together.
    about      text collate "C" not null,
    secret     text not null,
    -- Wall time.
    kept_since timestamptz not null default now()
);
create index secrets_about on secrets (about);

-- Nobody changes one. What the grants before this one gave by default goes beyond that.
do $$
begin
    execute format('revoke all on secrets from %I', current_database());
    execute format('grant select, insert, delete on secrets to %I', current_database());
end
$$;

-- The double-entry ledger of payments: what their events post, see contracts::ledger.
-- It can be made anew from the events at any time.
create table ledger_entries (
    -- The payment and the version of its event.
    stream_id text collate "C" not null,
    version   bigint not null,
    line      smallint not null,
    account   text collate "C" not null,
    currency  text collate "C" not null,
    -- Minor units: a debit above zero, a credit below.
    amount    bigint not null check (amount <> 0),
    -- Business time of the event.
    at        timestamptz not null,
    primary key (stream_id, version, line)
);

-- Up to which event each payment is booked.
create table ledger_heads (
    stream_id text collate "C" primary key,
    version   bigint not null
) with (fillfactor = 80);

-- An event that does not balance is not booked, whoever derived it.
create function ledger_balances() returns trigger
language plpgsql
as $$
begin
    if exists (
        select from added
        group by stream_id, version, currency
        having sum(amount) <> 0
    ) then
        raise exception 'an event does not balance' using errcode = 'check_violation';
    end if;
    return null;
end
$$;

create trigger ledger_balances after insert on ledger_entries
    referencing new table as added
    for each statement execute function ledger_balances();

-- The serving role adds entries and never changes or deletes one.
do $$
begin
    execute format('revoke update, delete on ledger_entries from %I', current_database());
end
$$;

-- A master serves as the role named like its database, which owns nothing.
-- It can add events and never change or delete one.
do $$
declare
    v_role constant text := current_database();
begin
    if not exists (select from pg_roles where rolname = v_role) then
        raise exception 'the serving role % is missing: create it before migrating', v_role;
    end if;
    execute format('grant usage on schema public to %I', v_role);
    execute format('grant select, insert on events to %I', v_role);
    execute format('grant select, insert, update, delete on streams to %I', v_role);
    execute format('grant select, insert, delete on commands to %I', v_role);
    execute format('grant select, insert, update, delete on outbox, timers, inbox, quarantine, relay_checkpoints to %I', v_role);
    execute format('grant usage on all sequences in schema public to %I', v_role);
    -- What the master's own migrations make after this, it may use.
    execute format('alter default privileges in schema public grant select, insert, update, delete on tables to %I', v_role);
    execute format('alter default privileges in schema public grant usage, select on sequences to %I', v_role);
end
$$;

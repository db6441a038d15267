-- What became of each notification; whom it went to is not kept.
create table sent_log (
    order_id text collate "C" not null,
    occasion text collate "C" not null,
    -- Why nothing was sent; null for a mail that the mail server took.
    failure  text,
    -- Wall time.
    at       timestamptz not null,
    primary key (order_id, occasion)
);

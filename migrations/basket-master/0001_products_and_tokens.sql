-- The menu as basket-master has heard of it: the fold of each product's events.
create table products (
    product_id text collate "C" primary key,
    version    bigint not null,
    document   jsonb not null
);

-- Payment tokens, which are in no event: one per provider call that may need one.
-- A row goes when the call has its answer or the payment is closed.
create table payment_tokens (
    -- The provider's idempotency key of the call.
    provider_key text collate "C" primary key,
    order_id     text collate "C" not null,
    token        text not null,
    kept_since   timestamptz not null default now()
);
create index payment_tokens_order on payment_tokens (order_id);

-- Which baskets may hold which product, for changes of the menu to find. A row goes when the basket is seen without it.
create table basket_lines (
    product_id text collate "C" not null,
    basket_id  text collate "C" not null,
    noted_at   timestamptz not null default now(),
    primary key (product_id, basket_id)
);

-- Of lines that were set before this table was there.
insert into basket_lines (product_id, basket_id)
select distinct data ->> 'product', stream_id from events where type = 'basket.line_set';

-- Promotions as basket-master has heard of them: the fold of each promotion's events.
create table promotions (
    promotion_id text collate "C" primary key,
    version      bigint not null,
    country      text not null,
    ended        boolean not null,
    document     jsonb not null
);
create index promotions_country on promotions (country) where not ended;

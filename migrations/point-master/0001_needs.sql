-- What point-master knows of products, to open and close stock: what each of them is made of, and where it is sold.
-- Gated by version, so that an event heard twice changes nothing. The versions only grow, and so does their sum: it names a
-- state of these tables.
create table products (
    product text collate "C" primary key,
    version bigint not null
);

create table product_needs (
    product    text collate "C" not null references products,
    country    text not null,
    ingredient text collate "C" not null,
    -- False: it was made of this there once, and is no more.
    needed     boolean not null,
    primary key (product, country, ingredient)
);

-- Ingredients that some recipe or option named, so that others may refer to them by id alone.
create table ingredients (
    ingredient text collate "C" primary key,
    name       text not null
);

-- Those of the products that there are; the name given last counts.
insert into ingredients (ingredient, name)
select distinct on (line ->> 'ingredient') line ->> 'ingredient', line ->> 'name'
from events, json_array_elements(data -> 'product' -> 'recipe') line
where type in ('product.created', 'product.updated')
order by line ->> 'ingredient', position desc;

//! A meal-delivery instance: four tab-separated files, times in minutes, places in metres.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use mesh_contracts::geo::Coordinates;

/// One degree on the mean sphere that distances are computed on, in metres.
const DEGREE_M: f64 = 6_371_008.8 * std::f64::consts::PI / 180.0;

/// A place on the instance's plane, in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

impl Point {
    /// The same place near 0°, 0°, where a degree is as long in every direction and the sphere is as good as flat:
    /// over 40 km the error stays below a metre.
    pub fn on_earth(self) -> Coordinates {
        let e6 = |metres: f64| (metres / DEGREE_M * 1e6).round() as i32;
        Coordinates::new(e6(self.y), e6(self.x)).expect("instances are cities, not continents")
    }

    /// Along the bee line.
    pub fn distance_m(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// An order to be placed.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    pub name: String,
    pub at: Point,
    pub placed_minute: u32,
    pub restaurant: String,
    pub ready_minute: u32,
}

/// A courier's shift.
#[derive(Debug, Clone, PartialEq)]
pub struct Courier {
    pub name: String,
    pub at: Point,
    pub on_minute: u32,
    pub off_minute: u32,
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub orders: Vec<Order>,
    pub couriers: Vec<Courier>,
    pub restaurants: BTreeMap<String, Point>,
    pub meters_per_minute: u32,
    pub pickup_service_minutes: u32,
    pub dropoff_service_minutes: u32,
    /// The minute of the business instant after set-up.
    pub first_minute: u32,
}

impl Instance {
    /// Reads a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let table = |name: &str| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Table::parse(&text).with_context(|| path.display().to_string())
        };
        let parameters = table("instance_parameters.txt")?;
        let parameters = parameters.rows().next().context("instance_parameters.txt is empty")?;
        let restaurants = table("restaurants.txt")?
            .rows()
            .map(|row| Ok((row.text("restaurant")?.to_owned(), row.point()?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let mut orders = table("orders.txt")?
            .rows()
            .map(|row| {
                Ok(Order {
                    name: row.text("order")?.to_owned(),
                    at: row.point()?,
                    placed_minute: row.number("placement_time")?,
                    restaurant: row.text("restaurant")?.to_owned(),
                    ready_minute: row.number("ready_time")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        orders.sort_by_key(|order| order.placed_minute);
        for order in &orders {
            ensure!(
                restaurants.contains_key(&order.restaurant),
                "{} is of an unknown restaurant",
                order.name
            );
            ensure!(
                order.ready_minute >= order.placed_minute,
                "{} is ready before it is placed",
                order.name
            );
        }
        let couriers = table("couriers.txt")?
            .rows()
            .map(|row| {
                Ok(Courier {
                    name: row.text("courier")?.to_owned(),
                    at: row.point()?,
                    on_minute: row.number("on_time")?,
                    off_minute: row.number("off_time")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            orders,
            couriers,
            restaurants,
            meters_per_minute: parameters.number("meters_per_minute")?,
            pickup_service_minutes: parameters.number("pickup service minutes")?,
            dropoff_service_minutes: parameters.number("dropoff service minutes")?,
            first_minute: 0,
        })
    }

    /// The orders placed from one minute until before another, their restaurants, and the couriers who may be needed.
    pub fn part(mut self, from: u32, to: u32) -> Self {
        self.orders.retain(|order| (from..to).contains(&order.placed_minute));
        self.couriers.retain(|courier| courier.off_minute > from);
        let used: HashSet<&str> = self.orders.iter().map(|order| order.restaurant.as_str()).collect();
        self.restaurants.retain(|name, _| used.contains(name.as_str()));
        self.first_minute = from;
        self
    }

    /// From an order's minute to the door, if a courier stood at the counter and flew: what no dispatcher can beat.
    ///
    /// Half of each service lies before the hand-over there and half after it.
    pub fn lower_bound_minutes(&self, order: &Order) -> f64 {
        let cooks = f64::from(order.ready_minute - order.placed_minute);
        let way_m = self.restaurants[&order.restaurant].distance_m(order.at);
        let services = f64::from(self.pickup_service_minutes + self.dropoff_service_minutes);
        cooks + way_m / f64::from(self.meters_per_minute) + services / 2.0
    }
}

/// A file with a line of names and lines of values.
struct Table {
    names: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    fn parse(text: &str) -> Result<Self> {
        let split = |line: &str| line.split('\t').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).map(split);
        let names = lines.next().context("no line of names")?;
        let lines: Vec<_> = lines.collect();
        for (index, line) in lines.iter().enumerate() {
            if line.len() != names.len() {
                bail!("line {} has {} values, not {}", index + 2, line.len(), names.len());
            }
        }
        Ok(Self { names, lines })
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.lines.iter().enumerate().map(|(index, cells)| Row {
            table: self,
            line: index + 2,
            cells,
        })
    }
}

struct Row<'a> {
    table: &'a Table,
    line: usize,
    cells: &'a [String],
}

impl<'a> Row<'a> {
    fn text(&self, name: &str) -> Result<&'a str> {
        let column = self.table.names.iter().position(|known| known == name);
        let column = column.ok_or_else(|| anyhow!("no column {name}"))?;
        Ok(&self.cells[column])
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<T> {
        let text = self.text(name)?;
        text.parse()
            .map_err(|_| anyhow!("line {}: {name} is not a number: {text}", self.line))
    }

    fn point(&self) -> Result<Point> {
        Ok(Point {
            x: self.number("x")?,
            y: self.number("y")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Instance {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write("restaurants.txt", "restaurant\tx\ty\nr1\t0\t0\nr2\t9000\t0\n");
        write(
            "orders.txt",
            "order\tx\ty\tplacement_time\trestaurant\tready_time\no2\t640\t0\t20\tr1\t30\no1\t0\t0\t10\tr2\t12\n",
        );
        write(
            "couriers.txt",
            "courier\tx\ty\ton_time\toff_time\nc1\t0\t0\t0\t15\nc2\t0\t0\t5\t90\n",
        );
        write(
            "instance_parameters.txt",
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget click-to-door\n320\t4\t4\t40\n",
        );
        Instance::read(folder.path()).expect("well-formed")
    }

    #[test]
    fn orders_come_in_the_order_of_their_minutes() {
        let names: Vec<String> = small().orders.into_iter().map(|order| order.name).collect();
        assert_eq!(names, ["o1", "o2"]);
    }

    #[test]
    fn a_part_of_the_day_has_only_what_it_needs() {
        let part = small().part(15, 90);
        assert_eq!(part.orders.len(), 1);
        assert_eq!(part.restaurants.len(), 1);
        assert_eq!(part.couriers.len(), 1, "c1 is off by then");
        assert_eq!(part.first_minute, 15);
    }

    #[test]
    fn the_lower_bound_is_cooking_half_the_services_and_the_bee_line() {
        let instance = small();
        let bound = instance.lower_bound_minutes(&instance.orders[1]);
        assert!((bound - (10.0 + 4.0 + 2.0)).abs() < 1e-9, "{bound}");
    }

    #[test]
    fn distances_survive_the_way_onto_the_sphere() {
        let (a, b) = (
            Point {
                x: 25_000.0,
                y: 1_000.0,
            },
            Point { x: 300.0, y: 19_000.0 },
        );
        let on_earth = f64::from(a.on_earth().distance_m(b.on_earth()));
        assert!((on_earth - a.distance_m(b)).abs() < 1.5, "{on_earth}");
    }
}

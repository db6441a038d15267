//! A new migration must make a new binary: `migrate!` alone does not see files that are added.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/basket-master");
}

//! Embedded migrations: a new file is a new build.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations/courier-master");
}

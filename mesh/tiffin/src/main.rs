//! The command line of the platform.

use std::process::ExitCode;

fn main() -> ExitCode {
    tiffin::cli::main()
}

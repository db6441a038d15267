//! Where the services' executables are, built first if cargo started us.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

use crate::say::{self, Steps};

/// The folder of this executable, with every service beside it.
///
/// Started by `cargo run` they are built with our own profile, cargo showing its progress; otherwise they are
/// taken as they are.
pub async fn services(steps: &Steps) -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program does not know where it is")?;
    let folder = own.parent().context("this program is in no folder")?.to_owned();
    if let (Some(cargo), Some(manifest)) = (std::env::var_os("CARGO"), std::env::var_os("CARGO_MANIFEST_DIR"))
        && is_target_folder(&folder)
    {
        steps.done();
        say::note("building the services");
        build(Path::new(&cargo), Path::new(&manifest), &folder).await?;
    }
    Ok(folder)
}

/// `target/debug`, or `target/TRIPLE/debug`: cargo marks the folder above.
fn is_target_folder(folder: &Path) -> bool {
    folder
        .ancestors()
        .skip(1)
        .take(2)
        .any(|above| above.join("CACHEDIR.TAG").is_file())
}

async fn build(cargo: &Path, manifest: &Path, folder: &Path) -> Result<()> {
    let mut command = Command::new(cargo);
    command
        .args(["build", "--workspace", "--bins", "--profile", profile(folder)])
        .args(cfg!(feature = "failpoints").then_some("--features=tiffin/failpoints"))
        .current_dir(manifest)
        .stdin(Stdio::null())
        // Its words are progress, and ours is standard output.
        .stdout(Stdio::null())
        .kill_on_drop(true);
    // What cargo told *us* about our own package would only make the inner run think that something changed.
    for (name, _) in std::env::vars_os() {
        let own = ["CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_"];
        if name
            .to_str()
            .is_some_and(|name| own.iter().any(|prefix| name.starts_with(prefix)))
        {
            command.env_remove(name);
        }
    }
    command.env_remove("LD_LIBRARY_PATH");
    let status = command.status().await.context("cannot run cargo")?;
    ensure!(status.success(), "cargo could not build the services ({status})");
    Ok(())
}

/// The folder is named after the profile, except for the default one.
fn profile(folder: &Path) -> &str {
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_tells_the_profile() {
        assert_eq!(profile(Path::new("/x/target/debug")), "dev");
        assert_eq!(profile(Path::new("/x/target/release")), "release");
        assert_eq!(profile(Path::new("/x/target/aarch64-unknown-linux-gnu/bench")), "bench");
    }
}

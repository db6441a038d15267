//! sandbox-mail: `serve` (default), `--help`.

use mesh_runtime::Settings;
use mesh_runtime::process::{self, Command};
use sandbox_mail::NAME;
use sandbox_mail::config::Config;

fn main() -> anyhow::Result<()> {
    process::run(start())
}

async fn start() -> anyhow::Result<()> {
    let mut settings = Settings::new(NAME);
    let config = Config::from_settings(&mut settings);
    if process::command(&settings, &[Command::Serve])?.is_none() {
        return Ok(());
    }
    settings.finish()?;
    sandbox_mail::serve(config).await
}

//! Starts a child so that it ends when we end: it asks the kernel for a signal at its parent's death, then becomes the program.
//!
//! The command line offers this as `tiffin exec NAME --parent PID --signal NUMBER -- PROGRAM ARGS…`;
//! a program that is not `tiffin` (a test binary) goes through `setpriv` of util-linux.
//! Elsewhere than on Linux there is no such signal; there, children end with an orderly stop only.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Error, anyhow, bail};
use rustix::process::Signal;

/// How a child is tied to its parent.
#[derive(Debug, Clone)]
pub enum Launcher {
    /// Through the `exec` command of the program that is running now.
    Own,
    /// Through `setpriv --pdeathsig`.
    Setpriv(PathBuf),
    /// Not tied at all.
    Plain,
}

impl Launcher {
    /// The best one for a program that has no `exec` command.
    pub fn foreign() -> Self {
        if !cfg!(target_os = "linux") {
            return Self::Plain;
        }
        ["/usr/bin/setpriv", "/bin/setpriv"]
            .map(PathBuf::from)
            .into_iter()
            .find(|path| path.exists())
            .map_or(Self::Plain, Self::Setpriv)
    }

    /// The one for the command line itself.
    pub fn own() -> Self {
        if cfg!(target_os = "linux") {
            Self::Own
        } else {
            Self::Plain
        }
    }

    /// A command that becomes `program`, and gets `death_signal` when we die.
    pub(crate) fn command(&self, name: &str, program: &Path, death_signal: Signal) -> Command {
        let signal = death_signal.as_raw().to_string();
        match self {
            Self::Own => {
                // Not `current_exe`: the user the child runs as may have no way to that path, and it may have been rebuilt since.
                let mut command = Command::new("/proc/self/exe");
                command.arg0("tiffin").args(["exec", name, "--parent"]);
                command
                    .arg(std::process::id().to_string())
                    .args(["--signal", &signal, "--"])
                    .arg(program);
                command
            }
            Self::Setpriv(setpriv) => {
                let mut command = Command::new(setpriv);
                command
                    .args(["--pdeathsig", signal_name(death_signal), "--"])
                    .arg(program);
                command
            }
            Self::Plain => Command::new(program),
        }
    }
}

/// Becomes the program that the arguments after `tiffin exec` name; returns only if that failed.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Error {
    match parse(args) {
        Ok(wanted) => match wanted.tie() {
            Ok(()) => {
                let failure = Command::new(&wanted.program).args(&wanted.args).exec();
                Error::new(failure).context(format!("cannot run {}", wanted.program.display()))
            }
            Err(err) => err,
        },
        Err(err) => err,
    }
}

/// `setpriv` knows signals by name only; these four are all we send.
fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "INT",
        Signal::QUIT => "QUIT",
        Signal::KILL => "KILL",
        _ => "TERM",
    }
}

struct Wanted {
    parent: i32,
    signal: i32,
    program: PathBuf,
    args: Vec<OsString>,
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Wanted, Error> {
    let mut args = args.into_iter();
    let _name = args.next().context("exec: a name comes first")?;
    let (mut parent, mut signal) = (None, None);
    loop {
        let flag = args.next().context("exec: `-- PROGRAM` is missing")?;
        let place = match flag.to_str() {
            Some("--") => break,
            Some("--parent") => &mut parent,
            Some("--signal") => &mut signal,
            Some(_) | None => bail!("exec: unknown argument {}", flag.display()),
        };
        let value = args.next().and_then(|value| value.to_str()?.parse::<i32>().ok());
        *place = Some(value.with_context(|| format!("exec: {} takes a number", flag.display()))?);
    }
    Ok(Wanted {
        parent: parent.context("exec: --parent is missing")?,
        signal: signal.context("exec: --signal is missing")?,
        program: args.next().context("exec: the program is missing")?.into(),
        args: args.collect(),
    })
}

impl Wanted {
    #[cfg(target_os = "linux")]
    fn tie(&self) -> Result<(), Error> {
        use rustix::process::{getppid, set_parent_process_death_signal};

        let signal = Signal::from_named_raw(self.signal).ok_or_else(|| anyhow!("exec: no signal {}", self.signal))?;
        set_parent_process_death_signal(Some(signal)).context("cannot ask for a signal at the parent's death")?;
        // The parent may have died before we asked; then nobody would ever tell us.
        if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != self.parent) {
            bail!("the parent is gone already");
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn tie(&self) -> Result<(), Error> {
        let _ = (self.parent, self.signal);
        Err(anyhow!("exec: only Linux tells a child of its parent's death"))
    }
}

//! The other processes: the same program as server, as stand-in for Twilio, and for the commands between.
//! Each ends with its handle, by its id, whatever way the drill itself ends.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cast::{SMS_SENDER, WHATSAPP_SENDER};

/// The account of the drill: made up, as its token is.
const ACCOUNT: &str = "AC000000000000000000000000000d0011";
const TOKEN: &str = "drill-0123456789abcdef0123456789";
/// How long a lost answer is waited for, in seconds.
const REQUEST_TIMEOUT: u64 = 3;
/// How long a message whose fate is unknown is looked for, in seconds.
const UNCERTAIN_AFTER: u64 = 6;
/// How often a process is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of a log that an error shows.
const LAST_LINES: usize = 8;
/// Ports that the system gives to nobody as the near end of a connection: a server that is dead for a
/// moment must find its own still free.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A process that ends with this handle.
pub(super) struct Child {
    process: std::process::Child,
    what: &'static str,
    log: PathBuf,
}

impl Drop for Child {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Child {
    /// SIGKILL, and gone when this returns.
    pub(super) fn kill(mut self) -> Result<()> {
        self.process.kill().with_context(|| format!("{} could not be killed", self.what))?;
        self.process.wait()?;
        Ok(())
    }

    /// SIGTERM; returns how it ended.
    pub(super) async fn stop(mut self, patience: Duration) -> Result<ExitStatus> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.ended(patience).await
    }

    /// Waits until the process has ended by itself.
    async fn ended(&mut self, patience: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("{} did not end within {} s\n{}", self.what, patience.as_secs(), last_lines(&self.log));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// An error if the process has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.what, last_lines(&self.log)),
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LAST_LINES);
    lines.get(skipped..).unwrap_or_default().join("\n")
}

/// The folder of the drill, and what is run in it.
pub(super) struct Place {
    dir: PathBuf,
    program: PathBuf,
    port: u16,
    simulator: String,
}

/// How fast the server may send, in SMS parts a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) sms: f64,
    pub(super) whatsapp: f64,
}

impl Place {
    /// Starts the stand-in for Twilio, and writes the configuration of a server beside it.
    ///
    /// # Errors
    /// No free port, or a folder that can't be written.
    pub(super) fn set_up(dir: &Path, seed: u64, pace: Pace) -> Result<(Place, Child)> {
        let program = std::env::current_exe().context("the program does not find itself")?;
        let port = free_port().context("no port is free")?;
        let mut place = Place { dir: dir.to_owned(), program, port, simulator: String::new() };
        let (child, base) = place.simulate(seed)?;
        place.simulator = base;
        std::fs::write(place.config(), place.config_text(pace))
            .with_context(|| format!("{} can't be written", place.config().display()))?;
        Ok((place, child))
    }

    /// Where the server answers.
    pub(super) fn server_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where the stand-in answers.
    pub(super) fn simulator_url(&self) -> &str {
        &self.simulator
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The configuration of the server.
    pub(super) fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    fn config_text(&self, pace: Pace) -> String {
        let file = |name: &str| self.path(name).to_string_lossy().into_owned();
        format!(
            "# Written by `ese drill`.\n\
             [server]\nlisten = \"127.0.0.1:{port}\"\npublic_base_url = \"{url}\"\n\n\
             [store]\npath = {db:?}\nkey_file = {key:?}\n\n\
             [twilio]\naccount_sid = {ACCOUNT:?}\nauth_token = {TOKEN:?}\n\
             api_base = {base:?}\ncontent_base = {base:?}\nrequest_timeout_seconds = {REQUEST_TIMEOUT}\n\n\
             [[senders]]\naddress = {SMS_SENDER:?}\nkind = \"toll_free\"\nrate_per_second = {sms:.1}\n\n\
             [[senders]]\naddress = {WHATSAPP_SENDER:?}\nkind = \"whatsapp\"\nrate_per_second = {whatsapp:.1}\n\
             recipients_per_day = 1000000\n\n\
             [delivery]\naccount_rate_per_second = {account:.1}\nmax_in_flight = 64\n\
             uncertain_after_seconds = {UNCERTAIN_AFTER}\n\n\
             [quiet_hours]\nmarketing = \"off\"\n",
            port = self.port,
            url = self.server_url(),
            db = file("ese.db"),
            key = file("ese.key"),
            base = self.simulator,
            sms = pace.sms,
            whatsapp = pace.whatsapp,
            account = pace.sms + pace.whatsapp,
        )
    }

    /// The program with these arguments, deaf to the configuration of whoever started the drill.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ESE_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn log(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.path(name);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("{} can't be written", path.display()))?;
        Ok((path, file))
    }

    /// Starts the stand-in on any free port. Returns its address too.
    fn simulate(&self, seed: u64) -> Result<(Child, String)> {
        let (log, errors) = self.log("simulator.log")?;
        let inbound = format!("{}/webhooks/twilio/inbound", self.server_url());
        let seed = seed.to_string();
        let mut command = self.command(&["simulate", "--listen", "127.0.0.1:0"]);
        command
            .args(["--account-sid", ACCOUNT, "--auth-token", TOKEN, "--inbound-url", &inbound])
            .args(["--seed", &seed, "--latency-ms", "40", "--callback-delay-ms", "80"])
            .args(["--callback-log", "100000000", "--sender", SMS_SENDER, "--sender", WHATSAPP_SENDER])
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut process = command.spawn().context("the simulator could not be started")?;
        let out = process.stdout.take().context("its output is read")?;
        let child = Child { process, what: "the simulator", log };
        let mut lines = BufReader::new(out).lines();
        let base = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned)
        });
        // Whatever else it says is read, so that the pipe never fills.
        std::thread::spawn(move || lines.for_each(drop));
        let base =
            base.with_context(|| format!("the simulator did not start\n{}", last_lines(&child.log)))?;
        Ok((child, base))
    }

    /// Starts the server, which is not yet ready.
    pub(super) fn serve(&self) -> Result<Child> {
        let (log, errors) = self.log("server.log")?;
        let mut command = self.configured(&["serve"]);
        let process = command.stdout(Stdio::null()).stderr(errors).spawn();
        Ok(Child { process: process.context("the server could not be started")?, what: "the server", log })
    }

    fn configured(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["--config"]);
        command.arg(self.config()).args(arguments);
        command
    }

    /// Runs a command to its end. Returns what it said.
    ///
    /// # Errors
    /// With what it said, when it ended otherwise than well.
    pub(super) async fn run(&self, what: &'static str, arguments: &[&str]) -> Result<String> {
        let out = self.path("command.out");
        let file = File::create(&out).with_context(|| format!("{} can't be written", out.display()))?;
        let mut command = self.configured(arguments);
        let process = command.stdout(file.try_clone()?).stderr(file).spawn();
        let process = process.with_context(|| format!("{what} could not be started"))?;
        let mut child = Child { process, what, log: out.clone() };
        let status = child.ended(Duration::from_secs(120)).await?;
        let said = std::fs::read_to_string(&out)?;
        if !status.success() {
            bail!("{what}: {status}\n{said}");
        }
        Ok(said)
    }
}

/// A port that is free now, looked for from a random place on.
fn free_port() -> Option<u16> {
    let skipped = usize::from(rand::random::<u16>()) % PORTS.len();
    let mut ports = PORTS.cycle().skip(skipped).take(PORTS.len());
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

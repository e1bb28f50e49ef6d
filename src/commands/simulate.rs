//! `ese simulate`: the stand-in for Twilio, until Ctrl-C.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use anyhow::Context;

use crate::simulator::{ErrorFault, Faults, Options, Simulator};

/// Stand in for Twilio on this machine: nothing leaves it, nothing costs anything.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:9010")]
    pub listen: SocketAddr,
    /// The account's SID: AC and 32 hex digits.
    #[arg(long, default_value_t = Options::default().account_sid)]
    pub account_sid: String,
    /// Password of the account, and key of every signature.
    #[arg(long, default_value_t = Options::default().auth_token, hide_default_value = true)]
    pub auth_token: String,
    /// An API key that may be used instead of the auth token.
    #[arg(long, value_name = "SID:SECRET", value_parser = pair(':'))]
    pub api_key: Option<(String, String)>,
    /// Where inbound messages are announced.
    #[arg(long, value_name = "URL")]
    pub inbound_url: Option<String>,
    /// A number of the account; may be repeated. Without any, every well-formed sender is taken.
    #[arg(long = "sender", value_name = "ADDRESS")]
    pub senders: Vec<String>,
    /// A sender out of which Messaging Services pick; may be repeated.
    #[arg(long = "service-sender", value_name = "ADDRESS")]
    pub service_senders: Vec<String>,
    /// Message parts per second, of every sender or of one; may be repeated. Unlimited without it.
    #[arg(long = "sender-rate", value_name = "[ADDRESS=]PARTS")]
    pub sender_rates: Vec<String>,
    /// Time until a request is worked on.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Requests worked on at once before 429.
    #[arg(long, value_name = "N")]
    pub concurrency_limit: Option<usize>,
    /// Time between two statuses of a message.
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub callback_delay_ms: u64,
    /// How many webhooks the control API remembers.
    #[arg(long, value_name = "N", default_value_t = Options::default().callback_log)]
    pub callback_log: usize,
    /// Share of messages that end undelivered.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub fail_percent: f64,
    /// Share of delivered WhatsApp messages that are then read.
    #[arg(long, value_name = "PERCENT", default_value_t = 50.0, value_parser = percent)]
    pub read_percent: f64,
    /// Decides which messages fail, are read, or meet a fault.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Handle keywords as Advanced Opt-Out does, and say so in the webhook.
    #[arg(long)]
    pub advanced_opt_out: bool,
    /// Treat the 24-hour window of WhatsApp as open for everybody.
    #[arg(long)]
    pub window_open: bool,
    /// Let WhatsApp approve what is submitted after this time; without it only the control API decides.
    #[arg(long, value_name = "MS")]
    pub approve_after_ms: Option<u64>,
    /// Threads that serve requests.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub workers: usize,
    /// Let it listen where other machines reach it. It asks for no password on its own pages.
    #[arg(long)]
    pub allow_remote: bool,
    /// What goes wrong on purpose.
    #[command(flatten)]
    pub faults: FaultArgs,
}

/// One option per fault; the same names are the JSON of `POST /_control/faults`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Faults")]
pub struct FaultArgs {
    /// Answer 429 before anything happened.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub rate_429_percent: f64,
    /// Fail with a code, at once or by callback as Twilio would; may be repeated.
    #[arg(long = "error", value_name = "CODE[:PERCENT][@NUMBER]", value_parser = error_fault)]
    pub errors: Vec<ErrorFault>,
    /// Accept the message, then never answer.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub timeout_after_accept_percent: f64,
    /// Accept the message, then answer 500.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub error_500_after_accept_percent: f64,
    /// Answer 500 and accept nothing.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub error_500_before_percent: f64,
    /// Close the connection and accept nothing.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub drop_connection_percent: f64,
    /// Accept the message, then close the connection.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub drop_after_accept_percent: f64,
    /// Never answer, and accept nothing.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub timeout_before_accept_percent: f64,
    /// Take this much longer over each message, as long as the faults last.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub fault_latency_ms: u64,
    /// Answer 429 to fetches and lists.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub read_429_percent: f64,
    /// Answer 500 to fetches and lists.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub read_500_percent: f64,
    /// Show messages in lists only this much later than they were made.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub list_late_ms: u64,
    /// Send callbacks this much later than the status they tell.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub callbacks_late_ms: u64,
    /// Send callbacks twice.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub callbacks_doubled_percent: f64,
    /// Send a message's callbacks in another order than its statuses.
    #[arg(long)]
    pub callbacks_shuffled: bool,
    /// Never send callbacks.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub callbacks_missing_percent: f64,
    /// Announce what people write twice.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub inbound_doubled_percent: f64,
    /// Let only messages to this number meet the faults.
    #[arg(long, value_name = "NUMBER")]
    pub fault_to: Option<String>,
    /// Let only the first so many messages meet the faults.
    #[arg(long, value_name = "N")]
    pub fault_count: Option<u64>,
}

/// Serves until Ctrl-C (or SIGTERM), then closes the port.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let options = options(args)?;
    let summary_of = options.clone();
    let simulator = Simulator::start(options).await.context("the simulator did not start")?;
    let mut out = std::io::stdout().lock();
    let is_terminal = out.is_terminal();
    out.write_all(summary(&simulator.base_url(), &summary_of, is_terminal).as_bytes())?;
    out.flush()?;
    drop(out);
    until_asked_to_stop().await?;
    simulator.stop().await;
    Ok(())
}

fn options(args: Args) -> anyhow::Result<Options> {
    let usual = Options::default();
    let (sender_rate, sender_rates) = sender_rates(&args.sender_rates)?;
    Ok(Options {
        listen: args.listen,
        allow_remote: args.allow_remote,
        workers: args.workers,
        account_sid: args.account_sid,
        auth_token: args.auth_token,
        api_key: args.api_key,
        inbound_url: args.inbound_url,
        senders: args.senders,
        service_senders: if args.service_senders.is_empty() {
            usual.service_senders
        } else {
            args.service_senders
        },
        latency_ms: args.latency_ms,
        concurrency_limit: args.concurrency_limit,
        callback_delay_ms: args.callback_delay_ms,
        callback_concurrency: usual.callback_concurrency,
        callback_log: args.callback_log,
        fail_percent: args.fail_percent,
        read_percent: args.read_percent,
        seed: args.seed,
        identity: None,
        sender_rate,
        sender_rates,
        advanced_opt_out: args.advanced_opt_out,
        window_open: args.window_open,
        approve_after_ms: args.approve_after_ms,
        faults: faults(args.faults),
    })
}

fn faults(args: FaultArgs) -> Faults {
    Faults {
        // Set while it runs; from the start there is --latency-ms.
        rate_429_percent: args.rate_429_percent,
        errors: args.errors,
        timeout_after_accept_percent: args.timeout_after_accept_percent,
        error_500_after_accept_percent: args.error_500_after_accept_percent,
        error_500_before_percent: args.error_500_before_percent,
        drop_connection_percent: args.drop_connection_percent,
        drop_after_accept_percent: args.drop_after_accept_percent,
        timeout_before_accept_percent: args.timeout_before_accept_percent,
        latency_ms: args.fault_latency_ms,
        read_429_percent: args.read_429_percent,
        read_500_percent: args.read_500_percent,
        list_late_ms: args.list_late_ms,
        callbacks_late_ms: args.callbacks_late_ms,
        callbacks_doubled_percent: args.callbacks_doubled_percent,
        callbacks_shuffled: args.callbacks_shuffled,
        callbacks_missing_percent: args.callbacks_missing_percent,
        inbound_doubled_percent: args.inbound_doubled_percent,
        to: args.fault_to,
        count: args.fault_count,
    }
}

/// `10` is every sender's rate, `+1415…=1` that of one.
fn sender_rates(given: &[String]) -> anyhow::Result<(Option<f64>, HashMap<String, f64>)> {
    let mut all = None;
    let mut single = HashMap::new();
    for text in given {
        let (address, rate) = match text.rsplit_once('=') {
            Some((address, rate)) => (Some(address), rate),
            None => (None, text.as_str()),
        };
        let rate: f64 = rate.parse().with_context(|| format!("{rate:?} is no number of parts per second"))?;
        anyhow::ensure!(rate > 0.0, "a rate must be above 0");
        match address {
            Some(address) => {
                single.insert(address.to_owned(), rate);
            }
            None => all = Some(rate),
        }
    }
    Ok((all, single))
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("a percentage is a number from 0 to 100".to_owned()),
    }
}

fn pair(separator: char) -> impl Fn(&str) -> Result<(String, String), String> + Clone {
    move |text| match text.split_once(separator) {
        Some((first, second)) => Ok((first.to_owned(), second.to_owned())),
        None => Err(format!("needs two parts with {separator:?} between them")),
    }
}

/// `30003`, `30003:10`, `21610@+14155550101`.
fn error_fault(text: &str) -> Result<ErrorFault, String> {
    let (rest, to) = match text.split_once('@') {
        Some((rest, to)) => (rest, Some(to.to_owned())),
        None => (text, None),
    };
    let (code, share) = match rest.split_once(':') {
        Some((code, share)) => (code, percent(share)?),
        None => (rest, 100.0),
    };
    let code = code.parse().map_err(|_| format!("{code:?} is no error code"))?;
    Ok(ErrorFault { code, percent: share, to, count: None })
}

/// What is printed at the start.
fn summary(base: &str, options: &Options, is_terminal: bool) -> String {
    let (bold, dim, plain) = if is_terminal { ("\x1b[1m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
    // A token that somebody chose may be a real one by mistake: it is not repeated.
    let (token, typed) = if options.auth_token == Options::default().auth_token {
        (options.auth_token.as_str(), options.auth_token.as_str())
    } else {
        ("as given", "…")
    };
    let inbound =
        options.inbound_url.as_deref().unwrap_or("nowhere: what people write is only kept (--inbound-url)");
    let faults = if options.faults == Faults::default() {
        "none"
    } else {
        "as asked for; GET /_control/faults shows them"
    };
    let account = &options.account_sid;
    format!(
        "\n  {bold}Twilio, simulated{plain}\n\
         \n  {dim}Base URL{plain}     {base}\
         \n  {dim}Phones{plain}       {base}/\
         \n  {dim}Account{plain}      {account}\
         \n  {dim}Auth token{plain}   {token}\
         \n  {dim}Inbound to{plain}   {inbound}\
         \n  {dim}Faults{plain}       {faults}\n\
         \n  {bold}Point ese at it{plain}\
         \n    ESE_TWILIO__API_BASE={base} ESE_TWILIO__CONTENT_BASE={base} \\\
         \n    ESE_TWILIO__ACCOUNT_SID={account} ESE_TWILIO__AUTH_TOKEN={typed} ese serve\n\
         \n  {bold}Write as a person{plain}\
         \n    curl {base}/_control/inbound --json \\\
         \n      '{{\"from\":\"+14155550101\",\"to\":\"+15005550006\",\"body\":\"Hello\"}}'\n\
         \n  {dim}Ctrl-C ends it.{plain}\n\n"
    )
}

async fn until_asked_to_stop() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &str) -> Options {
        let words = std::iter::once("simulate").chain(line.split_whitespace());
        options(Command::try_parse_from(words).unwrap().args).unwrap()
    }

    #[test]
    fn every_fault_has_an_option_of_its_own() {
        let faults = parsed(
            "--rate-429-percent 1 --timeout-after-accept-percent 2 --error-500-after-accept-percent 3 \
             --error-500-before-percent 4 --drop-connection-percent 5 --read-429-percent 6 \
             --read-500-percent 7 --callbacks-late-ms 8 --callbacks-doubled-percent 9 \
             --callbacks-shuffled --callbacks-missing-percent 10 --fault-to +14155550101 \
             --drop-after-accept-percent 12 --timeout-before-accept-percent 13 --fault-latency-ms 14 \
             --list-late-ms 15 --inbound-doubled-percent 16 --fault-count 11 --error 30003:10 --error 21610@+14155550101",
        )
        .faults;
        let json = serde_json::to_value(&faults).unwrap();
        let left: Vec<_> = json
            .as_object()
            .unwrap()
            .iter()
            .zip(serde_json::to_value(Faults::default()).unwrap().as_object().unwrap())
            .filter(|(set, usual)| set == usual)
            .map(|((name, _), _)| name.clone())
            .collect();
        assert!(left.is_empty(), "no option sets {left:?}");
        assert_eq!(faults.errors[0].percent, 10.0);
        assert_eq!(faults.errors[1].to.as_deref(), Some("+14155550101"));
    }

    #[test]
    fn rates_are_for_all_senders_or_for_one() {
        let options = parsed("--sender-rate 10 --sender-rate whatsapp:+14155238886=0.33");
        assert_eq!(options.sender_rate, Some(10.0));
        assert_eq!(options.sender_rates["whatsapp:+14155238886"], 0.33);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--fail-percent 101", "--error x", "--listen nowhere", "--api-key SK1"] {
            let words = std::iter::once("simulate").chain(line.split_whitespace());
            assert!(Command::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn a_chosen_token_is_not_printed() {
        let options = parsed("--auth-token 0123456789abcdef");
        assert!(!summary("http://127.0.0.1:9010", &options, false).contains("0123456789abcdef"));
    }
}

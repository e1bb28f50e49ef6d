//! A simulator inside this process, for whoever tries everything before there is an account. It is reached as any
//! other Twilio: by the address, the account and the token that are set. What it took is forgotten when it ends.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::Mutex;
use url::Url;

use crate::simulator::{ErrorFault, Faults, Options, Simulator, StartError};

/// The account of a stand-in: no account of Twilio's has this SID.
pub const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";
/// Codes and how many in a hundred meet them, so that a first campaign shows what failure looks like. None of them is
/// tried again later.
const FINAL_ERRORS: [(u32, f64); 2] = [(30005, 2.0), (30007, 1.0)];

/// At most one simulator. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StandIn(Arc<Mutex<Option<Simulator>>>);

impl StandIn {
    /// Starts it on `port` of this machine, 0 for any, if it does not run yet. Answers where it listens.
    ///
    /// # Errors
    /// [`StartError`], mostly that the port is taken.
    pub async fn start(&self, port: u16, auth_token: &str, inbound_url: &str) -> Result<Url, StartError> {
        let mut held = self.0.lock().await;
        let simulator = match held.take() {
            Some(simulator) => simulator,
            None => Simulator::start(options(port, auth_token)).await?,
        };
        simulator.set_inbound_url(inbound_url);
        let base = simulator.base_url();
        *held = Some(simulator);
        Ok(Url::parse(&base).expect("the address of a socket is a URL"))
    }

    /// Where one reads what `number` received and answers as that person; `None` while nothing stands in.
    pub async fn phone_url(&self, number: &str) -> Option<String> {
        self.0.lock().await.as_ref().map(|simulator| simulator.phone_url(number))
    }

    /// Ends it, if it runs.
    pub async fn stop(&self) {
        if let Some(simulator) = self.0.lock().await.take() {
            simulator.stop().await;
        }
    }
}

fn options(port: u16, auth_token: &str) -> Options {
    let fault = |(code, percent)| ErrorFault { code, percent, to: None, count: None };
    Options {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        account_sid: ACCOUNT_SID.to_owned(),
        auth_token: auth_token.to_owned(),
        latency_ms: 15,
        callback_delay_ms: 250,
        fail_percent: 0.0,
        faults: Faults { errors: FINAL_ERRORS.map(fault).to_vec(), ..Faults::default() },
        ..Options::default()
    }
}
